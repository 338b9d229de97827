"""What every engine that serves DTLS does with it (see `contract`)."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from cryptography import x509
from OpenSSL import SSL

from tests.engine.contract import ANSWER, REQUEST, channel_data, send_indication
from tests.engine.contract_icmp import UNREACHABLE, error_of
from tests.engine.contract_mobility import Call, Datagrams, Way
from tests.engine.dtls_client import (
    AES_GCM,
    CLIENT_HELLO,
    CLIENT_KEY_EXCHANGE,
    HANDSHAKE,
    HELLO_VERIFY_REQUEST,
    DtlsClient,
    fragment,
    plain,
)
from tests.engine.socket_worlds import tls_sides
from tests.engine.worlds import CHANNEL, LOOPBACK, SETTINGS
from tests.listeners.pems import make_pair
from turnd.engine.base import (
    ClientMessage,
    CloseReason,
    Drop,
    LegClosed,
    LegOpened,
    ListenerSettings,
    RelayCounters,
    TlsIdentity,
    TlsSettings,
    Transport,
)
from turnd.engine.fields import Fields
from turnd.stun.addresses import TransportAddress
from turnd.stun.dtls_records import APPLICATION_DATA, cut_at_records

if TYPE_CHECKING:
    from tests.engine.socket_worlds import SocketParty, SocketWorld
    from turnd.engine.base import Leg, ListenerId

MTU = 1200
MANY_NAMES = tuple(f"host-{number}.of.a.long.list.of.names.example" for number in range(60))


@lru_cache(maxsize=4)
def identity(*names: str) -> TlsIdentity:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(each).read_bytes() for each in make_pair(Path(folder), *names)]
    return TlsIdentity(names, *files)


def serving(*identities: TlsIdentity, plain: bool = False) -> ListenerSettings:
    tls = TlsSettings(tls_sides()[0].context, identities) if identities else tls_sides()[0]
    return replace(SETTINGS, tls=tls, dtls=True, plain_udp=plain)


class DtlsWorld:
    """A world with one more listener, for DTLS."""

    def __init__(
        self, world: SocketWorld, settings: ListenerSettings, host: str = LOOPBACK
    ) -> None:
        self.world = world
        self.engine = world.engine
        self.listener: ListenerId = world.engine.listen(TransportAddress(host, 0), settings)
        bound = world.engine.endpoint(self.listener)
        self.server = TransportAddress(LOOPBACK, bound.port)

    def client(self, party: SocketParty | None = None, **how: Any) -> DtlsClient:
        return DtlsClient(party or self.world.client(), self.server, **how)

    async def connect(self, **how: Any) -> tuple[DtlsClient, Leg]:
        client = await self.client(**how).handshake()
        (opened,) = await self.world.events(1)
        assert isinstance(opened, LegOpened)
        return client, opened.leg


class Session(Way):
    """A client's way by DTLS."""

    def __init__(self, client: DtlsClient, leg: Leg) -> None:
        self.leg = leg
        self.client = client

    def send(self, data: bytes, number: int = CHANNEL) -> None:
        self.send_plain(channel_data(data, number))

    def send_plain(self, message: bytes) -> None:
        self.client.send(message)

    async def receive(self) -> bytes:
        return await self.client.receive()


async def serial(client: DtlsClient) -> int:
    return client.certificate().serial_number


def serial_of(one: TlsIdentity) -> int:
    return x509.load_pem_x509_certificates(one.certificate)[0].serial_number


class Dtls:
    @pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0"])
    async def test_messages_and_media_pass(self, world: SocketWorld, host: str) -> None:
        dtls = DtlsWorld(world, serving(), host)
        client, leg = await dtls.connect()
        assert (leg.transport, leg.listener, leg.local, leg.client) == (
            Transport.DTLS, dtls.listener, dtls.server, client.party.address,
        )  # fmt: skip
        assert leg.stream
        client.send(REQUEST)
        assert await world.events(1) == [ClientMessage(leg, REQUEST)]
        world.engine.send_to_client(leg, ANSWER)
        assert await client.receive() == ANSWER
        relay, relayed = world.open_relay(leg)
        peer = world.peer()
        world.permit(relay, peer)
        world.bind(relay, peer)
        for data in (b"", b"1", b"22", b"333", b"4444", bytes(1_200)):
            client.send(channel_data(data))
            assert await peer.receive() == (data, relayed)
            peer.send(data, relayed)
            assert await client.receive() == channel_data(data), "without padding"
        expected = RelayCounters(6, 1_210, 6, 1_210)
        await world.until(lambda: world.relayed(relay) == expected)
        counters = world.engine.counters()
        assert counters.by_transport[Transport.DTLS] == expected
        assert counters.by_listener[dtls.listener] == expected
        assert counters.streams == 1
        assert world.drops() == {}

    @pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0"])
    async def test_header_fields_go_along_as_by_udp(self, world: SocketWorld, host: str) -> None:
        client, leg = await DtlsWorld(world, serving(), host).connect()
        relay, relayed = world.open_relay(leg)
        peer = world.peer()
        world.permit(relay, peer)
        world.bind(relay, peer)
        client.party.mark(Fields(60, 0xB9))
        client.send(channel_data(b"up"))
        assert await peer.receive() == (b"up", relayed)
        assert peer.fields == Fields(59, 0xB9)
        peer.mark(Fields(50, 3))
        peer.send(b"down", relayed)
        assert await client.receive() == channel_data(b"down")
        assert client.party.fields == Fields(49, 3)
        client.party.mark(Fields(1, 0))
        client.send(channel_data(b"far"))
        peer.mark(Fields(1, 0))
        peer.send(b"far", relayed)
        await world.dropped(hop_limit=2)

    async def test_an_icmp_error_is_told(self, world: SocketWorld) -> None:
        client, leg = await DtlsWorld(world, serving()).connect()
        relay, _ = world.open_relay(leg)
        with world.nowhere() as closed:
            world.engine.permit(relay, closed.host, 9e9)
            client.send(send_indication(closed, b"to nobody"))
            assert error_of(await client.receive()) == (closed, UNREACHABLE)
        assert world.engine.counters().icmp_errors == 1

    async def test_indications_pass_with_any_length(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        client, leg = await dtls.connect()
        relay, relayed = world.open_relay(leg)
        peer = world.peer()
        world.permit(relay, peer)
        peer.send(b"down!", relayed)
        message = await client.receive()
        assert message[:2] == b"\x00\x17"
        assert b"down!\0\0\0" in message

    async def test_a_client_moves_to_dtls_and_on(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        call = Call(world, Datagrams(world))
        paths = [Session(*await dtls.connect()) for _ in range(2)]
        for path in (*paths, call.path):
            await call.announces(path, b"first")
            path.send(b"second")
            await call.down(call.path, b"still there")
            world.engine.hand_over([call.relay], path.leg)
            assert [(await call.peer.receive())[0] for _ in "12"] == [b"first", b"second"]
            await call.down(path, b"here")
            await call.up(call.path, b"late, by the former one")
            call.path = path
        assert not world.drops()

    async def test_a_session_that_ends_leaves_its_relays_to_python(
        self, world: SocketWorld
    ) -> None:
        client, leg = await DtlsWorld(world, serving()).connect()
        call = Call(world, Session(client, leg))
        client.close()
        assert await world.events(1) == [LegClosed(leg, CloseReason.CLIENT)]
        path = Datagrams(world)
        world.engine.hand_over([call.relay], path.leg)
        await call.up(path, b"here")
        await call.down(path, b"here")

    async def test_two_messages_in_one_datagram(self, world: SocketWorld) -> None:
        client, leg = await DtlsWorld(world, serving()).connect()
        client.push(client.record(REQUEST) + client.record(REQUEST))
        assert await world.events(2) == [ClientMessage(leg, REQUEST)] * 2

    async def test_plain_udp_and_dtls_share_a_port(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving(plain=True))
        party = world.client()
        client = await dtls.client(party).handshake()
        (opened,) = await world.events(1)
        assert isinstance(opened, LegOpened)
        party.send(REQUEST, dtls.server)
        client.send(REQUEST)
        plain = opened.leg._replace(transport=Transport.UDP, stream=0)
        first, second = await world.events(2)
        assert {first.leg, second.leg} == {plain, opened.leg}
        world.engine.send_to_client(plain, ANSWER)
        assert (await party.receive())[0] == ANSWER
        relay, relayed = world.open_relay(plain)
        peer = world.peer()
        world.permit(relay, peer)
        world.bind(relay, peer)
        party.send(channel_data(b"up"), dtls.server)
        assert await peer.receive() == (b"up", relayed)
        peer.send(b"down", relayed)
        assert (await party.receive())[0] == channel_data(b"down")
        assert world.relayed(relay).packets_to_client == 1

    @pytest.mark.parametrize("data", [REQUEST, channel_data(b"x"), b"", b"\xff"])
    async def test_where_only_dtls_is_served_all_else_is_dropped(
        self, world: SocketWorld, data: bytes
    ) -> None:
        dtls = DtlsWorld(world, serving())
        world.client().send(data, dtls.server)
        await world.dropped(dtls_record=1)
        assert not world.engine.poll()


class Cookies:
    async def test_a_hello_leaves_nothing_behind(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        client = dtls.client()
        hello = client.flight()
        client.push(hello)
        question = await client.pull()
        assert question[13] == HELLO_VERIFY_REQUEST
        assert len(question) <= len(hello)
        assert world.engine.counters().streams == 0
        assert not world.engine.poll()

    async def test_a_cookie_is_of_one_address(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        client, thief = dtls.client(), world.client()
        client.push(client.flight())
        await client.pull()
        thief.send(client.flight(), dtls.server)
        question, _ = await thief.receive()
        assert question[13] == HELLO_VERIFY_REQUEST
        assert world.engine.counters().streams == 0

    async def test_a_cookie_is_good_for_a_while(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        clients = [dtls.client(), dtls.client()]
        for client, later in zip(clients, (25, 65), strict=True):
            client.push(client.flight())
            await client.pull()
            world.clock.now += later
            client.push(client.flight())
            question = await client.pull()
            assert (question[13] == HELLO_VERIFY_REQUEST) == (later > 60)

    async def test_questions_are_within_the_strangers_budget(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        world.engine.budget(2)
        party = world.client()
        hello = dtls.client().flight()
        for _ in range(5):
            party.send(hello, dtls.server)
        await world.until(lambda: world.engine.counters().over_budget == 3)
        assert [(await party.receive())[0][13] for _ in range(2)] == [HELLO_VERIFY_REQUEST] * 2
        assert party.has_nothing()

    async def test_who_has_a_session_draws_nothing(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        world.engine.budget(3)
        client, leg = await dtls.connect()
        assert world.engine.draw(LOOPBACK), "the question and the handshake were two"
        assert not world.engine.draw(LOOPBACK)
        client.send(REQUEST)
        assert await world.events(1) == [ClientMessage(leg, REQUEST)]

    async def test_handshakes_are_within_the_strangers_budget(self, world: SocketWorld) -> None:
        """One cookie would buy any number of them: each hello with it has us sign anew."""
        dtls = DtlsWorld(world, serving())
        world.engine.budget(3)
        client = dtls.client()
        client.push(client.flight())
        await client.pull()
        hello = client.flight()
        for _ in range(10):
            client.push(hello[:27] + os.urandom(32) + hello[59:])
        await world.until(lambda: world.engine.counters().over_budget == 8)
        (closed,) = await world.events(1)
        assert isinstance(closed, LegClosed)
        assert world.engine.counters().streams == 1


class Flights:
    async def test_they_are_cut_to_the_mtu(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving(identity(*MANY_NAMES)))
        client, _ = await dtls.connect()
        assert max(map(len, client.seen)) <= MTU
        assert sum(map(len, client.seen)) > 2 * MTU

    @pytest.mark.parametrize("lost", [0, 1, 2, 3], ids=lambda number: f"datagram {number}")
    async def test_what_the_server_sends_may_get_lost(self, world: SocketWorld, lost: int) -> None:
        """The question for the cookie, two parts of the certificate, the last flight."""
        dtls = DtlsWorld(world, serving(identity(*MANY_NAMES)))
        client = dtls.client()
        loses_one(client, lost, from_server=True)
        await self._complete(world, client)

    @pytest.mark.parametrize("lost", [0, 1, 2], ids=["hello", "hello with cookie", "finished"])
    async def test_what_the_client_sends_may_get_lost(self, world: SocketWorld, lost: int) -> None:
        dtls = DtlsWorld(world, serving())
        client = dtls.client()
        loses_one(client, lost, from_server=False)
        await self._complete(world, client)

    async def test_the_server_repeats_by_itself(self, world: SocketWorld) -> None:
        client = DtlsWorld(world, serving()).client()
        await client.bring_cookie()
        first = await client.pull()

        def again() -> bool:
            world.engine.tick()
            return client.party.try_receive() is not None

        await world.until(again)
        assert first

    @staticmethod
    async def _complete(world: SocketWorld, client: DtlsClient) -> None:
        client.push(client.flight())

        def done() -> bool:
            world.engine.tick()
            return client._is_done()

        await world.until(done)
        (opened,) = await world.events(1)
        client.send(REQUEST)
        assert await world.events(1) == [ClientMessage(opened.leg, REQUEST)]


def loses_one(client: DtlsClient, number: int, *, from_server: bool) -> None:
    """The network loses one datagram of a side."""
    count = -1

    def loses(datagram: bytes) -> bool:
        nonlocal count
        is_servers = bool(client.seen) and datagram is client.seen[-1]
        count += is_servers == from_server
        return is_servers == from_server and count == number

    client.loses = loses


class Fragments:
    """Of hellos: a client may send one that no datagram holds (RFC 6347 section 4.2.3)."""

    MANY_PROTOCOLS: ClassVar = [b"protocol number %3d" % number for number in range(90)]

    async def _hellos(self, dtls: DtlsWorld) -> tuple[DtlsClient, list[bytes]]:
        """A client, its first hello said, and the one with the cookie; either in two datagrams."""
        client = dtls.client(protocols=self.MANY_PROTOCOLS)
        for datagram in cut_at_records(client.flight()):
            client.push(datagram)
        await dtls.world.dropped(dtls_record=1)
        question = await client.pull()
        assert question[13] == HELLO_VERIFY_REQUEST
        both = cut_at_records(client.flight())
        assert len(both) == 2
        return client, both

    async def test_a_hello_may_come_in_several_datagrams(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        client, (first, second) = await self._hellos(dtls)
        client.push(first)
        await world.until(lambda: world.engine.counters().streams)
        other = dtls.client()
        other.push(other.flight())
        await other.pull()
        client.push(second)
        await world.until(client._is_done)
        (opened,) = await world.events(1)
        assert isinstance(opened, LegOpened)
        client.send(REQUEST)
        assert await world.events(1) == [ClientMessage(opened.leg, REQUEST)]

    async def test_a_fragment_without_its_cookie_leaves_nothing_behind(
        self, world: SocketWorld
    ) -> None:
        dtls = DtlsWorld(world, serving())
        client, (_, second) = await self._hellos(dtls)
        client.push(second)
        await world.dropped(dtls_record=2)
        assert world.engine.counters().streams == 0
        assert client.party.has_nothing()


class Handshakes:
    async def test_one_that_stays_half_open_has_a_deadline(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, replace(serving(), handshake_timeout=3))
        client = dtls.client()
        await client.bring_cookie()
        await client.pull()
        assert world.engine.counters().streams == 1
        world.clock.now += 2.999
        world.engine.tick()
        assert not world.engine.poll()
        world.clock.now += 0.001
        world.engine.tick()
        (closed,) = await world.events(1)
        assert isinstance(closed, LegClosed)
        assert closed.reason is CloseReason.HANDSHAKE_TIMEOUT
        assert world.engine.counters().streams == 0

    async def test_many_may_begin_at_once(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        clients = [dtls.client() for _ in range(30)]
        for client in clients:
            client.push(client.flight())
            await client.pull()
        for client, hello in [(client, client.flight()) for client in clients]:
            client.push(hello)
        for client in clients:
            assert await client.pull()
        assert world.engine.counters().streams == len(clients)
        assert not world.drops()

    async def test_a_network_has_so_many_at_the_same_time(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        clients = 0
        while not world.drops():
            client = dtls.client()
            await client.bring_cookie()
            clients += 1
            await world.until(partial(self._has_counted, world, clients))
        assert world.drops() == {Drop.DTLS_HANDSHAKE: 1}
        held = world.engine.counters().streams
        assert held >= 64
        other = dtls.client(world.client("127.0.1.1"))
        await other.bring_cookie()
        await other.pull()
        assert world.engine.counters().streams == held + 1
        world.clock.now += SETTINGS.handshake_timeout
        world.engine.tick()
        await world.until(lambda: world.engine.counters().streams == 0)
        assert len(await world.events(held + 1)) == held + 1
        await dtls.connect()

    @staticmethod
    def _has_counted(world: SocketWorld, clients: int) -> bool:
        return world.engine.counters().streams + sum(world.drops().values()) == clients

    @pytest.mark.parametrize(("many", "size"), [(3, 100), (9, 16_000)])
    async def test_messages_may_come_before_the_handshakes_last(
        self, world: SocketWorld, many: int, size: int
    ) -> None:
        """However much of them: OpenSSL keeps up to a hundred."""
        dtls = DtlsWorld(world, serving())
        client = dtls.client(ciphers=AES_GCM)
        await client.bring_cookie()
        await client.pull()
        exchange, change, finished = cut_at_records(client.flight(), 1)
        request = REQUEST[:2] + (size - 20).to_bytes(2, "big") + REQUEST[4:] + bytes(size - 20)
        for datagram in (exchange, change):
            client.push(datagram)
        for number in range(1, many + 1):
            client.push(client.sealed(APPLICATION_DATA, request, number))
        client.push(finished)
        opened, *messages = await world.events(1 + many)
        assert isinstance(opened, LegOpened)
        assert messages == [ClientMessage(opened.leg, request)] * many
        await dtls.connect()

    @pytest.mark.parametrize(
        "how",
        [
            {"version": 0xFEFF},
            {"ciphers": "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"},
            {"ciphers": "AES128-GCM-SHA256:@SECLEVEL=0"},
        ],
        ids=["DTLS 1.0", "no AEAD", "no forward secrecy"],
    )
    async def test_what_is_weak_is_refused(self, world: SocketWorld, how: dict[str, Any]) -> None:
        client = DtlsWorld(world, serving()).client(**how)
        with pytest.raises(SSL.Error):
            await client.handshake()
        (closed,) = await world.events(1)
        assert isinstance(closed, LegClosed)
        assert closed.reason is CloseReason.HANDSHAKE_FAILED
        assert world.engine.counters().streams == 0

    async def test_the_certificate_is_that_of_the_name(self, world: SocketWorld) -> None:
        one, other = identity("one.example"), identity("other.example", "*.wild.example")
        dtls = DtlsWorld(world, serving(one, other))
        for name, expected in {
            None: one,
            "one.example": one,
            "OTHER.example": other,
            "a.wild.example": other,
            "b.a.wild.example": one,
            "unknown.example": one,
        }.items():
            client, _ = await dtls.connect(server_name=name)
            assert await serial(client) == serial_of(expected)

    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            ([b"stun.turn"], b"stun.turn"),
            ([b"h2", b"stun.nat-discovery"], b"stun.nat-discovery"),
            ([b"h2"], b""),
            ([], b""),
        ],
    )
    async def test_the_protocol_is_ours_where_it_is_offered(
        self, world: SocketWorld, offered: list[bytes], chosen: bytes
    ) -> None:
        client, _ = await DtlsWorld(world, serving()).connect(protocols=offered)
        assert client.connection.get_alpn_proto_negotiated() == chosen

    async def test_new_certificates_are_for_new_handshakes(self, world: SocketWorld) -> None:
        one, other = identity("one.example"), identity("other.example")
        dtls = DtlsWorld(world, serving(one))
        before, leg = await dtls.connect()
        world.engine.configure(dtls.listener, serving(other))
        after, _ = await dtls.connect()
        assert await serial(before) == serial_of(one)
        assert await serial(after) == serial_of(other)
        before.send(REQUEST)
        assert await world.events(1) == [ClientMessage(leg, REQUEST)]

    async def test_a_certificate_that_cannot_be_served_changes_nothing(
        self, world: SocketWorld
    ) -> None:
        dtls = DtlsWorld(world, serving(identity("one.example")))
        broken = TlsIdentity(("one.example",), b"no certificate", b"no key")
        with pytest.raises((OSError, ValueError)):
            world.engine.configure(dtls.listener, serving(broken))
        await dtls.connect()
        with pytest.raises((OSError, ValueError)):
            DtlsWorld(world, serving(broken))

    async def test_without_a_certificate_there_is_no_dtls(self, world: SocketWorld) -> None:
        with pytest.raises((OSError, ValueError)):
            DtlsWorld(world, replace(serving(), tls=None))


class Ends:
    async def test_the_client_says_goodbye(self, world: SocketWorld) -> None:
        client, leg = await DtlsWorld(world, serving()).connect()
        relay, _ = world.open_relay(leg)
        client.close()
        assert await world.events(1) == [LegClosed(leg, CloseReason.CLIENT)]
        counters = world.engine.counters()
        assert (counters.relays, counters.streams) == (1, 0), "the relay is Python's to close"
        world.engine.close_relay(relay)

    async def test_an_order_says_goodbye(self, world: SocketWorld) -> None:
        client, leg = await DtlsWorld(world, serving()).connect()
        world.open_relay(leg)
        world.engine.close_leg(leg, CloseReason.UNAUTHENTICATED)
        world.engine.close_leg(leg, CloseReason.SERVER)
        assert await world.events(1) == [LegClosed(leg, CloseReason.UNAUTHENTICATED)]
        assert await client.ended()
        world.engine.send_to_client(leg, ANSWER)
        assert world.engine.counters().streams == 0

    async def test_a_closed_listener_ends_its_sessions(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        client, leg = await dtls.connect()
        world.open_relay(leg)
        world.engine.close_listener(dtls.listener)
        assert await world.events(1) == [LegClosed(leg, CloseReason.SERVER)]
        assert await client.ended()
        assert world.engine.counters().streams == 0

    async def test_who_is_silent_and_has_no_relay_is_gone(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, replace(serving(), idle_timeout=30))
        client, leg = await dtls.connect()
        world.clock.now += 29
        client.send(REQUEST)
        await world.events(1)
        world.clock.now += 29.999
        world.engine.tick()
        assert not world.engine.poll()
        relay, _ = world.open_relay(leg, lasts=1e6)
        world.clock.now += 1_000
        world.engine.tick()
        assert not world.engine.poll()
        world.engine.close_relay(relay)
        world.engine.tick()
        assert await world.events(1) == [LegClosed(leg, CloseReason.IDLE)]

    async def test_forged_records_keep_nobody_alive(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, replace(serving(), idle_timeout=30))
        client, leg = await dtls.connect()
        world.clock.now += 29
        for kind in (20, 21, HANDSHAKE, APPLICATION_DATA):
            client.push(plain(kind, os.urandom(40), 7, 1))
        other, _ = await dtls.connect()
        other.send(REQUEST)
        await world.events(1)
        world.clock.now += 1
        world.engine.tick()
        assert await world.events(1) == [LegClosed(leg, CloseReason.IDLE)]

    async def test_a_new_handshake_from_the_same_address_takes_the_place(
        self, world: SocketWorld
    ) -> None:
        """RFC 6347 section 4.2.8."""
        dtls = DtlsWorld(world, serving())
        party = world.client()
        first = await dtls.client(party).handshake()
        (opened,) = await world.events(1)
        assert isinstance(opened, LegOpened)
        second = dtls.client(party)
        await second.bring_cookie()
        flight = await second.pull()
        first.send(REQUEST)  # its session goes on meanwhile
        assert await world.events(1) == [ClientMessage(opened.leg, REQUEST)]
        assert flight
        second._step()
        await world.until(second._is_done)
        events = await world.events(2)
        events.remove(LegClosed(opened.leg, CloseReason.CLIENT))
        (again,) = events
        assert isinstance(again, LegOpened)
        assert again.leg.client == opened.leg.client
        assert again.leg.stream != opened.leg.stream
        second.send(REQUEST)
        assert await world.events(1) == [ClientMessage(again.leg, REQUEST)]
        assert world.engine.counters().streams == 1

    async def test_a_forged_hello_ends_nothing(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        party = world.client()
        client = await dtls.client(party).handshake()
        (opened,) = await world.events(1)
        party.send(dtls.client(party).flight(), dtls.server)
        question, _ = await party.receive()
        assert question[13] == HELLO_VERIFY_REQUEST
        client.send(REQUEST)
        assert await world.events(1) == [ClientMessage(opened.leg, REQUEST)]

    async def test_who_begins_anew_leaves_one_handshake(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        party = world.client()
        for _ in range(3):
            await dtls.client(party).bring_cookie()
            await party.receive()
        await world.until(lambda: world.engine.counters().streams == 1)
        events = await world.events(2)
        assert all(isinstance(event, LegClosed) for event in events)


class Garbage:
    @pytest.mark.parametrize(
        "record",
        [
            b"\x16",
            b"\x16" * 40,
            b"\x14" * 70,
            b"\x17\xfe\xfd" + bytes(30),
            b"\x15\xfe\xfd" + bytes(8) + b"\0\2\1\0",
            b"\x16\xfe\xfd" + bytes(8) + b"\0\xff\1" + bytes(60),
            b"\x16\xfe\xfd" + bytes(8) + b"\0\x40\1" + bytes(63),
            b"\x3f" + bytes(80),
            b"\x16\xfe\xfd" + bytes(8) + b"\x20\0\1" + bytes(9_000),
        ],
    )
    async def test_records_of_nobody_are_dropped(self, world: SocketWorld, record: bytes) -> None:
        dtls = DtlsWorld(world, serving())
        world.client().send(record, dtls.server)
        await world.dropped(dtls_record=1)
        assert not world.engine.poll()
        await dtls.connect()

    async def test_a_session_survives_what_is_not_its_own(self, world: SocketWorld) -> None:
        client, leg = await DtlsWorld(world, serving()).connect()
        real = client.record(REQUEST)
        for forged in (
            real[:-1],
            real[:-1] + bytes([real[-1] ^ 1]),
            real[:13],
            real[:5],
            b"\x17" + os.urandom(60),
            b"\x16\xfe\xfd\0\1" + os.urandom(60),
            b"\x15\xfe\xfd\0\0" + bytes(6) + b"\0\2\2\50",
            b"\x14\xfe\xfd" + bytes(8) + b"\0\1\1",
        ):
            client.push(forged)
        client.push(real)
        client.push(real)
        client.send(REQUEST)
        assert await world.events(2) == [ClientMessage(leg, REQUEST)] * 2, "and no replay"

    @pytest.mark.parametrize(
        ("place", "value"),
        [
            (0, 23),
            (1, 1),
            (2, 0),
            (10, 255),
            (12, 255),
            (14, 1),
            (18, 9),
            (21, 1),
            (25, 1),
            (59, 33),
        ],
        ids=str,
    )
    async def test_a_session_survives_broken_hellos_of_strangers(
        self, world: SocketWorld, place: int, value: int
    ) -> None:
        """OpenSSL keeps its errors for whoever asks next, and that was another's session."""
        dtls = DtlsWorld(world, serving())
        client, leg = await dtls.connect()
        hello = bytearray(dtls.client().flight())
        hello[place] = value
        stranger = world.client()
        for datagram in (bytes(hello), bytes(hello[:70]), bytes(hello[:-1])):
            stranger.send(datagram, dtls.server)
            await world.until(lambda: world.drops() or stranger.try_receive())
            client.push(b"\x17\xfe\xfd\0\1" + os.urandom(60))
            client.send(REQUEST)
            assert await world.events(1) == [ClientMessage(leg, REQUEST)]

    async def test_a_handshake_survives_what_is_not_its_own(self, world: SocketWorld) -> None:
        dtls = DtlsWorld(world, serving())
        client = dtls.client()
        await client.bring_cookie()
        for _ in range(20):
            client.push(b"\x16\xfe\xfd\0\0" + os.urandom(6) + b"\xff\xff\0" + os.urandom(50))
            client.push(b"\x17\xfe\xfd\0\1" + os.urandom(50))
        await client.pull()
        client._step()
        await world.until(client._is_done)
        (opened,) = await world.events(1)
        assert isinstance(opened, LegOpened)

    @pytest.mark.parametrize("number", [0, 3, 12])
    async def test_no_room_is_made_for_long_messages_of_a_handshake(
        self, world: SocketWorld, number: int
    ) -> None:
        """OpenSSL would make room for the 100 KB that a few bytes announce, again and again."""
        dtls = DtlsWorld(world, serving())
        client = dtls.client()
        await client.bring_cookie()
        first = await client.pull()
        client.push(plain(HANDSHAKE, fragment(CLIENT_KEY_EXCHANGE, 100_000, number, b"x"), 99))
        await world.dropped(dtls_record=1)
        assert first
        client._step()
        await world.until(client._is_done)
        (opened,) = await world.events(1)
        assert isinstance(opened, LegOpened)

    @pytest.mark.parametrize(
        "message",
        [
            fragment(CLIENT_KEY_EXCHANGE, 100_000, 9, b"x"),
            fragment(CLIENT_HELLO, 41, 3, bytes(41)),
            fragment(CLIENT_HELLO, 2_000, 3, bytes(41)),
        ],
        ids=["out of turn", "hello", "part of a hello"],
    )
    async def test_a_session_that_is_to_be_negotiated_anew_ends(
        self, world: SocketWorld, message: bytes
    ) -> None:
        client, leg = await DtlsWorld(world, serving()).connect(ciphers=AES_GCM)
        client.push(client.sealed(APPLICATION_DATA, REQUEST, 50))
        assert await world.events(1) == [ClientMessage(leg, REQUEST)], "so records are sealed"
        client.push(client.sealed(HANDSHAKE, message, 51))
        assert await world.events(1) == [LegClosed(leg, CloseReason.CLIENT)]
        assert world.engine.counters().streams == 0

    async def test_what_is_no_message_is_dropped(self, world: SocketWorld) -> None:
        client, leg = await DtlsWorld(world, serving()).connect()
        for data in (b"", b"\x00", b"\xff" * 40, REQUEST[:-1], REQUEST + b"\0", b"\x16" * 30):
            client.send(data) if data else None
        await world.dropped(not_stun=5)
        client.send(REQUEST)
        assert await world.events(1) == [ClientMessage(leg, REQUEST)]

    async def test_what_fits_no_record_is_dropped(self, world: SocketWorld) -> None:
        client, leg = await DtlsWorld(world, serving()).connect()
        relay, relayed = world.open_relay(leg)
        peer = world.peer()
        world.permit(relay, peer)
        world.bind(relay, peer)
        peer.send(bytes(17_000), relayed)
        await world.dropped(too_big=1)
        peer.send(b"small", relayed)
        assert await client.receive() == channel_data(b"small")
