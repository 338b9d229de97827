from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.client.relaying import KEY, Relaying
from tests.client.scripted import PATIENT, Exchange, Script, scripted
from tests.waiting import eventually
from turnd.client import client as client_module
from turnd.client.client import TurnClient, server_of
from turnd.client.errors import ClientError, StunError, UnreachableError
from turnd.client.session import ClientOptions
from turnd.client.uri import Server, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, ChannelNumber, TransportAddress
from turnd.stun.channel_data import encode_channel_data
from turnd.stun.keys import PasswordAlgorithm
from turnd.stun.message import MessageClass, Method, encode_message

OPTIONS = ClientOptions(timing=PATIENT)
RELAYED = TransportAddress("203.0.113.7", 50000)
RELAYED6 = TransportAddress("2001:db8::7", 50000)
PEER = TransportAddress("198.51.100.1", 4000)


def client_of(server: Server, options: ClientOptions = OPTIONS) -> TurnClient:
    return TurnClient(server, "alice", "s3cret", options)


def attributes_of(exchange: Exchange) -> dict[int, bytes]:
    return dict(exchange.message.attributes)


def granting(*attributes: tuple[a.Attribute[Any], Any]) -> Script:
    """A server without credentials that answers every request with these attributes."""

    def script(exchange: Exchange) -> None:
        is_stun = exchange.frame[0] < 0x40
        if is_stun and exchange.message.message_class == MessageClass.REQUEST:
            exchange.succeed(*attributes)

    return script


def data_indication(*attributes: tuple[a.Attribute[Any], Any]) -> bytes:
    return encode_message(Method.DATA, MessageClass.INDICATION, bytes(12), attributes)


def bare(server: Server) -> TurnClient:
    return TurnClient(server, options=OPTIONS)


def test_servers_are_named_by_uri_too() -> None:
    assert server_of("turn:h") == Server("h", 3478, Transport.UDP)
    assert server_of("turns:h:443?transport=tcp") == Server("h", 443, Transport.TLS)
    assert TurnClient("turn:h?transport=tcp").server == Server("h", 3478, Transport.TCP)


async def test_binding_tells_our_address() -> None:
    with Relaying() as relaying:
        async with scripted(relaying) as server, bare(server.server) as client:
            assert await client.binding() == client.connection.local


async def test_a_binding_answer_without_address_is_an_error() -> None:
    async with scripted(granting()) as server, bare(server.server) as client:
        with pytest.raises(ClientError, match="no XOR-MAPPED-ADDRESS"):
            await client.binding()


class TestAllocate:
    async def test_what_is_got(self) -> None:
        token = b"12345678"
        script = granting(
            (a.XOR_RELAYED_ADDRESS, RELAYED),
            (a.XOR_RELAYED_ADDRESS, RELAYED6),
            (a.XOR_MAPPED_ADDRESS, PEER),
            (a.LIFETIME, 1200),
            (a.RESERVATION_TOKEN, token),
        )
        async with scripted(script) as server, bare(server.server) as client:
            allocated = await client.allocate()

            assert allocated.relayed == (RELAYED, RELAYED6)
            assert allocated.relayed_for(AddressFamily.IPV6) == RELAYED6
            assert allocated.relayed_for(AddressFamily.IPV4) == RELAYED
            assert allocated.mapped == PEER
            assert allocated.lifetime == 1200
            assert allocated.reservation_token == token
            assert set(attributes_of(server.seen[0])) == {
                a.REQUESTED_TRANSPORT.number,
                a.FINGERPRINT.number,
            }
            assert server.seen[0].message.get(a.REQUESTED_TRANSPORT) == 17

    async def test_every_wish_is_its_attribute(self) -> None:
        async with (
            scripted(granting((a.XOR_RELAYED_ADDRESS, RELAYED))) as server,
            bare(server.server) as client,
        ):
            allocated = await client.allocate(
                family=AddressFamily.IPV6,
                additional_family=AddressFamily.IPV6,
                even_port=True,
                reservation_token=b"abcdefgh",
                lifetime=42,
                dont_fragment=True,
                transport=6,
            )

            message = server.seen[0].message
            assert message.get(a.REQUESTED_TRANSPORT) == 6
            assert message.get(a.REQUESTED_ADDRESS_FAMILY) == AddressFamily.IPV6
            assert message.get(a.ADDITIONAL_ADDRESS_FAMILY) == AddressFamily.IPV6
            assert message.get(a.EVEN_PORT) is True
            assert message.get(a.RESERVATION_TOKEN) == b"abcdefgh"
            assert message.get(a.LIFETIME) == 42
            assert message.has(a.DONT_FRAGMENT)
            assert allocated.relayed_for(AddressFamily.IPV6) is None
            assert allocated.lifetime == 0

    async def test_an_even_port_without_the_next(self) -> None:
        async with (
            scripted(granting((a.XOR_RELAYED_ADDRESS, RELAYED))) as server,
            bare(server.server) as client,
        ):
            await client.allocate(even_port=False, dont_fragment=False)

            assert server.seen[0].message.get(a.EVEN_PORT) is False
            assert not server.seen[0].message.has(a.DONT_FRAGMENT)

    async def test_an_answer_without_address_is_an_error(self) -> None:
        async with scripted(granting()) as server, bare(server.server) as client:
            with pytest.raises(ClientError, match="no XOR-RELAYED-ADDRESS"):
                await client.allocate()

    async def test_a_port_that_was_another_clients_is_given_up(self) -> None:
        """RFC 8656 section 7.4: another address of ours, three at most."""

        def script(exchange: Exchange) -> None:
            if exchange.number < 2:
                exchange.fail(437)
            else:
                exchange.succeed((a.XOR_RELAYED_ADDRESS, RELAYED))

        async with scripted(script) as server, bare(server.server) as client:
            await client.allocate()

            assert len({each.client for each in server.seen}) == 3
            assert len({each.message.transaction_id for each in server.seen}) == 3
            assert client.connection.local == server.seen[-1].client

    async def test_after_three_addresses_the_server_is_given_up(self) -> None:
        async with (
            scripted(lambda exchange: exchange.fail(437)) as server,
            bare(server.server) as client,
        ):
            with pytest.raises(StunError, match="437"):
                await client.allocate()

            assert len({each.client for each in server.seen}) == len(server.seen) == 3

    async def test_an_allocation_of_our_own_is_not_left_for_another(self) -> None:
        def script(exchange: Exchange) -> None:
            if exchange.number == 0:
                exchange.succeed((a.XOR_RELAYED_ADDRESS, RELAYED))
            else:
                exchange.fail(437)

        async with scripted(script) as server, bare(server.server) as client:
            await client.allocate()
            with pytest.raises(StunError, match="437"):
                await client.allocate()

            assert len(server.seen) == 2
            await client.close(delete=False)

    async def test_credentials_are_used(self) -> None:
        with Relaying() as relaying:
            async with scripted(relaying) as server, client_of(server.server) as client:
                await client.allocate()

                assert client.credentials is not None
                assert client.credentials.algorithm is PasswordAlgorithm.SHA256


class TestRefresh:
    async def test_the_lifetime_granted(self) -> None:
        async with scripted(granting((a.LIFETIME, 777))) as server, bare(server.server) as client:
            assert await client.refresh() == 777
            assert await client.refresh(1000, AddressFamily.IPV6) == 777

            assert not server.seen[0].message.has(a.LIFETIME)
            assert server.seen[1].message.get(a.LIFETIME) == 1000
            assert server.seen[1].message.get(a.REQUESTED_ADDRESS_FAMILY) == AddressFamily.IPV6

    async def test_a_deleted_allocation_has_no_channels(self) -> None:
        async with scripted(granting()) as server, bare(server.server) as client:
            await client.channel_bind(PEER)
            await client.refresh(0)
            await client.send(PEER, b"x")

            await eventually(lambda: len(server.seen) == 3)
            assert server.seen[2].message.method == Method.SEND


class TestClosing:
    async def test_the_allocation_is_deleted(self) -> None:
        with Relaying() as relaying:
            async with scripted(relaying) as server:
                async with client_of(server.server) as client:
                    await client.allocate()
                    assert relaying.allocations
                assert not relaying.allocations

    async def test_it_stays_when_told(self) -> None:
        with Relaying() as relaying:
            async with scripted(relaying) as server, client_of(server.server) as client:
                await client.allocate()
                await client.close(delete=False)
                await client.close()

                assert relaying.allocations

    async def test_a_server_that_refuses_does_not_hold_us(self) -> None:
        with Relaying() as relaying:
            async with scripted(relaying) as server, client_of(server.server) as client:
                await client.allocate()
                relaying.refuse[Method.REFRESH] = 437

    async def test_a_server_that_is_silent_does_not_hold_us(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_module, "GOODBYE_LIMIT", 0.01)

        def silent(exchange: Exchange) -> None:
            if exchange.message.method == Method.ALLOCATE:
                exchange.succeed((a.XOR_RELAYED_ADDRESS, RELAYED))

        async with scripted(silent) as server, bare(server.server) as client:
            await client.allocate()

    async def test_afterwards_nothing_works(self) -> None:
        async with scripted(granting()) as server, bare(server.server) as client:
            await client.close()

            with pytest.raises(UnreachableError, match="not connected"):
                await client.send(PEER, b"x")
            with pytest.raises(UnreachableError, match="closed"):
                await client.receive()

    async def test_no_server_is_told_when_connecting(self) -> None:
        async with scripted(granting(), Transport.TCP) as server:
            gone = server.server
        with pytest.raises(UnreachableError, match="refused"):
            async with bare(gone):
                raise AssertionError("connected to nobody")


class TestPeers:
    async def test_permissions_name_all_peers(self) -> None:
        async with scripted(granting()) as server, bare(server.server) as client:
            await client.create_permission("198.51.100.7", PEER, "2001:db8::1")

            assert server.seen[0].message.get_all(a.XOR_PEER_ADDRESS) == [
                ("198.51.100.7", 0),
                PEER,
                ("2001:db8::1", 0),
            ]

    async def test_a_refused_permission_is_an_error(self) -> None:
        async with scripted(lambda e: e.fail(403)) as server, bare(server.server) as client:
            with pytest.raises(StunError, match="403"):
                await client.create_permission("10.0.0.1")

    async def test_channels_count_up_and_stay(self) -> None:
        async with scripted(granting()) as server, bare(server.server) as client:
            other = TransportAddress("198.51.100.2", 1)

            assert await client.channel_bind(PEER) == 0x4000
            assert await client.channel_bind(other) == 0x4001
            assert await client.channel_bind(PEER) == 0x4000
            assert await client.channel_bind(TransportAddress("::2", 1), 0x4FFF) == 0x4FFF
            message = server.seen[1].message
            assert message.get(a.CHANNEL_NUMBER) == 0x4001
            assert message.get(a.XOR_PEER_ADDRESS) == other

    async def test_data_goes_as_indications_then_by_channel(self) -> None:
        async with scripted(granting(), Transport.TCP) as server, bare(server.server) as client:
            await client.send(PEER, b"one")
            await client.channel_bind(PEER)
            await client.send(PEER, b"two")
            await client.send(PEER, b"three", dont_fragment=True)

            await eventually(lambda: len(server.seen) == 4)
            first, last = server.seen[0].message, server.seen[3].message
            assert first.message_class == MessageClass.INDICATION
            assert (first.get(a.XOR_PEER_ADDRESS), first.get(a.DATA)) == (PEER, b"one")
            assert not first.has(a.DONT_FRAGMENT)
            assert server.seen[2].frame == encode_channel_data(
                ChannelNumber(0x4000), b"two", padded=False
            )
            assert (last.get(a.DATA), last.has(a.DONT_FRAGMENT)) == (b"three", True)

    async def test_what_peers_send_is_received(self) -> None:
        def script(exchange: Exchange) -> None:
            exchange.succeed()
            exchange.send(data_indication((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"indication")))
            exchange.send(encode_channel_data(ChannelNumber(0x4000), b"channel", padded=False))

        async with scripted(script) as server, bare(server.server) as client:
            await client.channel_bind(PEER)

            assert await client.receive() == (PEER, b"indication")
            assert await client.receive() == (PEER, b"channel")

    async def test_icmp_errors_are_received_apart(self) -> None:
        error = a.IcmpValue(3, 4, 1280)

        def script(exchange: Exchange) -> None:
            exchange.send(data_indication((a.ICMP, error)))
            exchange.send(data_indication((a.XOR_PEER_ADDRESS, PEER), (a.ICMP, error)))
            exchange.send(data_indication((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"data")))
            exchange.succeed()

        async with scripted(script) as server, bare(server.server) as client:
            await client.refresh()

            assert await client.receive_icmp_error() == (PEER, error)
            assert await client.receive() == (PEER, b"data")
            assert client.undecodable == 1

    async def test_what_nobody_can_be_told_of_is_counted(self) -> None:
        def script(exchange: Exchange) -> None:
            exchange.send(data_indication((a.DATA, b"x")))
            exchange.send(encode_channel_data(ChannelNumber(0x4444), b"?", padded=False))
            exchange.send(b"\x40")
            exchange.succeed()

        async with scripted(script) as server, bare(server.server) as client:
            await client.refresh()

            assert client.undecodable == 3

    async def test_a_slow_reader_loses_what_is_too_much(self) -> None:
        def script(exchange: Exchange) -> None:
            for _ in range(5):
                exchange.send(data_indication((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x")))
            exchange.succeed()

        options = ClientOptions(timing=PATIENT, queue=2)
        async with scripted(script) as server, TurnClient(server.server, options=options) as client:
            await client.refresh()

            assert client.dropped == 3


async def test_low_level_requests() -> None:
    async with scripted(lambda e: e.fail(400)) as server, client_of(server.server) as client:
        request = encode_message(Method.REFRESH, MessageClass.REQUEST, b"i" * 12, ())
        response = await client.exchange(request)
        assert response.message_class == MessageClass.ERROR

        with pytest.raises(StunError, match="400"):
            await client.request(0x123, [(a.raw(0x7FFF), b"")], transaction_id=b"k" * 12)
        assert server.seen[1].message.transaction_id == b"k" * 12
        assert attributes_of(server.seen[1])[0x7FFF] == b""


async def test_requests_at_the_same_time_find_their_answers() -> None:
    with Relaying() as relaying:
        async with scripted(relaying, Transport.TCP) as server, client_of(server.server) as client:
            await client.allocate()
            hosts = [f"198.51.100.{number}" for number in range(1, 21)]

            await asyncio.gather(*(client.create_permission(host) for host in hosts))

            signed = [each for each in server.seen if each.message.verify_integrity(*KEY)]
            assert len(signed) == 21


class Ticketing:
    """A server that gives each request a ticket of its own."""

    def __init__(self) -> None:
        self.given = 0
        self.refuses = False
        self.seen: list[Exchange] = []

    def __call__(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        if exchange.frame[0] >= 0x40 or exchange.message.message_class != MessageClass.REQUEST:
            return
        if self.refuses:
            exchange.fail(437)
            return
        self.given += 1
        exchange.succeed((a.XOR_RELAYED_ADDRESS, RELAYED), (a.MOBILITY_TICKET, bytes([self.given])))

    @property
    def shown(self) -> list[bytes | None]:
        """The tickets of requests."""
        messages = [each.message for each in self.seen if each.frame[0] < 0x40]
        return [message.get(a.MOBILITY_TICKET) for message in messages]


class TestMoving:
    async def test_each_time_with_the_ticket_that_came_last(self) -> None:
        ticketing = Ticketing()
        async with scripted(ticketing) as server, bare(server.server) as client:
            await client.allocate(mobility=True)
            for _ in range(2):
                await client.move()
            assert ticketing.shown == [b"", b"\x01", b"\x02"]
            assert len({each.client for each in ticketing.seen}) == 3

    async def test_what_still_comes_by_the_former_connection_is_received(self) -> None:
        ticketing = Ticketing()
        async with scripted(ticketing) as server, bare(server.server) as client:
            await client.allocate(mobility=True)
            number = await client.channel_bind(PEER)
            await client.move()
            before, after = ticketing.seen[0], ticketing.seen[-1]
            before.send(encode_channel_data(number, b"old", padded=False))
            assert await client.receive() == (PEER, b"old")
            await client.send(PEER, b"up")
            await eventually(lambda: ticketing.seen[-1].frame[0] == 0x40)
            assert ticketing.seen[-1].client == after.client
            await client.leave()
            after.send(encode_channel_data(number, b"new", padded=False))
            assert await client.receive() == (PEER, b"new")

    async def test_from_a_connection_that_has_ended_by_another_transport(self) -> None:
        ticketing = Ticketing()
        async with (
            scripted(ticketing, Transport.TCP) as tcp,
            scripted(ticketing) as udp,
            bare(tcp.server) as client,
        ):
            await client.allocate(mobility=True)
            await client.connection.close()
            with pytest.raises(UnreachableError):
                await client.receive()
            await client.move(udp.server)
            assert client.server == udp.server
            ticketing.seen[-1].send(data_indication((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x")))
            assert await client.receive() == (PEER, b"x")

    async def test_a_refusal_leaves_all_as_it_was(self) -> None:
        ticketing = Ticketing()
        async with scripted(ticketing) as server, bare(server.server) as client:
            with pytest.raises(ClientError, match="no mobility ticket"):
                await client.move()
            await client.allocate(mobility=True)
            ticketing.refuses = True
            with pytest.raises(StunError, match="437"):
                await client.move()
            ticketing.refuses = False
            await client.refresh()
            assert ticketing.seen[-1].client == ticketing.seen[0].client
            await client.move()
            assert ticketing.shown[-1] == b"\x01"
