"""What every engine does: the tests of `RelayEngine`. Each engine's test file runs them all."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.engine.worlds import CHANNEL, LOOPBACK
from turnd.engine.base import (
    ClientMessage,
    CloseReason,
    Drop,
    RelayCounters,
    RelayError,
    RelayId,
    Transport,
)
from turnd.stun import attributes
from turnd.stun.addresses import ChannelNumber, TransportAddress
from turnd.stun.channel_data import encode_channel_data
from turnd.stun.message import MessageClass, Method, decode_untrusted, encode_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.engine.worlds import World
    from turnd.engine.base import Event

REQUEST = encode_message(Method.ALLOCATE, MessageClass.REQUEST, bytes(12), [])
"""One that no engine answers itself."""
BINDING = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), [])
ANSWER = encode_message(Method.BINDING, MessageClass.SUCCESS, bytes(12), [])
DATA_INDICATION = b"\x00\x17"


def channel_data(data: bytes, number: int = CHANNEL) -> bytes:
    return encode_channel_data(ChannelNumber(number), data, padded=False)


def send_indication(peer: TransportAddress, data: bytes, *more: tuple[Any, Any]) -> bytes:
    values = [(attributes.XOR_PEER_ADDRESS, peer), (attributes.DATA, data), *more]
    return encode_message(Method.SEND, MessageClass.INDICATION, os.urandom(12), values)


def data_of(indication: bytes) -> tuple[TransportAddress | None, bytes | None]:
    message = decode_untrusted(indication)
    assert (message.method, message.message_class) == (Method.DATA, MessageClass.INDICATION)
    return message.get(attributes.XOR_PEER_ADDRESS), message.get(attributes.DATA)


async def flood(world: World, send: Callable[[bytes, TransportAddress], None], number: int) -> None:
    """Send so many requests; all of them have been seen when it returns."""
    server = world.engine.endpoint(world.listener)
    for start in range(0, number, 100):
        marks = world.drops().get(Drop.NOT_STUN, 0)
        for _ in range(min(100, number - start)):
            send(REQUEST, server)
        send(b"\xff", server)
        await world.until(partial(has_dropped, world, marks + 1))


def has_dropped(world: World, number: int) -> bool:
    return world.drops().get(Drop.NOT_STUN) == number


class Allocation:
    """A UDP client with a relay, and a peer with a permission and a channel."""

    def __init__(self, world: World, host: str = LOOPBACK, *, peer_host: str | None = None) -> None:
        self.world = world
        self.client = world.client()
        self.leg = world.leg(self.client)
        self.server = world.engine.endpoint(world.listener)
        self.relay, self.relayed = world.open_relay(self.leg, host)
        self.peer = world.peer(peer_host or host)
        world.permit(self.relay, self.peer)
        world.bind(self.relay, self.peer)

    def send(self, data: bytes) -> None:
        """From the client to the server."""
        self.client.send(data, self.server)

    def answer(self, data: bytes) -> None:
        """From the peer to the relayed transport address."""
        self.peer.send(data, self.relayed)

    async def passes(self, number: int = CHANNEL) -> None:
        """A packet passes each way through the channel."""
        self.send(channel_data(b"up", number))
        assert await self.peer.receive() == (b"up", self.relayed)
        self.answer(b"down")
        assert await self.client.receive() == (channel_data(b"down", number), self.server)


class HandingUp:
    async def test_what_needs_a_decision_is_handed_up_with_its_leg(self, world: World) -> None:
        client = world.client()
        client.send(REQUEST, world.engine.endpoint(world.listener))
        await world.until(lambda: world.woken)
        assert await world.events(1) == [ClientMessage(world.leg(client), REQUEST)]

    async def test_messages_come_oldest_first(self, world: World) -> None:
        clients = [world.client() for _ in range(5)]
        for client in clients:
            await flood(world, client.send, 1)
        expected = [ClientMessage(world.leg(client), REQUEST) for client in clients]
        assert await world.events(5) == expected

    async def test_an_answer_comes_from_the_address_that_was_asked(self, world: World) -> None:
        client = world.client()
        world.engine.send_to_client(world.leg(client), ANSWER)
        assert await client.receive() == (ANSWER, world.engine.endpoint(world.listener))

    async def test_an_answer_to_a_leg_that_has_ended_goes_nowhere(self, world: World) -> None:
        client = world.client()
        leg = world.leg(client)
        world.engine.close_listener(world.listener)
        world.engine.send_to_client(leg, ANSWER)
        assert client.has_nothing()

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x00",
            b"\x00\x01\x00\x00",
            REQUEST[:19],
            REQUEST + b"\0\0\0\0",
            REQUEST[:4] + b"\x21\x12\xa4\x43" + REQUEST[8:],
            b"\x40\x00\x00",
            b"\x40\x00\x00\x05four",
            b"\x50\x00\x00\x04four",
            b"\xff" * 40,
            b"\x16" * 40,
            # A message but for its first byte: of nobody, of ZRTP, DTLS and RTP (RFC 7983).
            *(bytes([first]) + REQUEST[1:] for first in (4, 16, 20, 128)),
        ],
    )
    async def test_what_is_neither_stun_nor_channel_data_is_dropped(
        self, world: World, data: bytes
    ) -> None:
        allocation = Allocation(world)
        allocation.send(data)
        await world.dropped(not_stun=1)
        assert not world.engine.poll()

    async def test_media_of_a_stranger_is_dropped(self, world: World) -> None:
        stranger = world.client()
        server = world.engine.endpoint(world.listener)
        stranger.send(channel_data(b"media"), server)
        stranger.send(send_indication(TransportAddress("192.0.2.1", 9), b"media"), server)
        await world.dropped(no_allocation=2)
        assert not world.engine.poll()

    async def test_other_messages_of_a_client_are_handed_up(self, world: World) -> None:
        allocation = Allocation(world)
        allocation.send(REQUEST)
        allocation.send(DATA_INDICATION + REQUEST[2:])
        for event in await world.events(2):
            assert isinstance(event, ClientMessage)
            assert event.leg == allocation.leg

    async def test_a_plain_binding_request_is_answered_or_handed_up(self, world: World) -> None:
        client = world.client()
        client.send(BINDING, world.engine.endpoint(world.listener))
        seen: list[Event] = []

        def is_done() -> bool:
            seen.extend(world.engine.poll())
            return bool(seen or world.engine.counters().bindings_answered)

        await world.until(is_done)
        if seen:
            assert seen == [ClientMessage(world.leg(client), BINDING)]
        else:
            answer = decode_untrusted((await client.receive())[0])
            assert (answer.method, answer.message_class) == (Method.BINDING, MessageClass.SUCCESS)
            assert answer.get(attributes.XOR_MAPPED_ADDRESS) == client.address


class Relays:
    async def test_a_leg_has_one_relay_a_family(self, world: World) -> None:
        allocation = Allocation(world)
        bound = TransportAddress(LOOPBACK, world.free_port(LOOPBACK))
        assert world.engine.open_relay(allocation.leg, bound, 9e9) is RelayError.OTHER
        world.open_relay(allocation.leg, "::1")
        assert world.engine.counters().relays == 2

    async def test_a_leg_that_has_ended_gets_no_relay(self, world: World) -> None:
        stream = await world.connect(Transport.TCP)
        world.engine.close_leg(stream.leg, CloseReason.SERVER)
        bound = TransportAddress(LOOPBACK, world.free_port(LOOPBACK))
        assert world.engine.open_relay(stream.leg, bound, 9e9) is RelayError.OTHER

    async def test_why_a_relay_cannot_be_bound(self, world: World) -> None:
        allocation = Allocation(world)
        taken = world.engine.open_relay(None, allocation.relayed, 9e9)
        assert taken is RelayError.PORT_TAKEN
        foreign = world.engine.open_relay(None, TransportAddress("192.0.2.77", 50_000), 9e9)
        assert foreign is RelayError.NO_SUCH_ADDRESS

    async def test_handles_are_never_used_twice(self, world: World) -> None:
        client = world.client()
        seen: set[RelayId] = set()
        for _ in range(5):
            relay, _ = world.open_relay(world.leg(client))
            assert relay not in seen
            seen.add(relay)
            world.engine.close_relay(relay)

    async def test_a_closed_relay_is_gone_at_once(self, world: World) -> None:
        allocation = Allocation(world)
        world.engine.close_relay(allocation.relay)
        allocation.send(channel_data(b"late"))
        await world.dropped(no_allocation=1)
        assert world.engine.relay_counters(allocation.relay) is None
        assert world.engine.counters().relays == 0
        again = world.engine.open_relay(allocation.leg, allocation.relayed, 9e9)
        assert not isinstance(again, RelayError)

    async def test_verbs_on_a_closed_relay_do_nothing(self, world: World) -> None:
        allocation = Allocation(world)
        for _ in range(2):
            world.engine.close_relay(allocation.relay)
        world.permit(allocation.relay, allocation.peer)
        world.bind(allocation.relay, allocation.peer)
        world.engine.extend(allocation.relay, 9e9)
        world.engine.move(allocation.relay, allocation.leg, 9e9)
        assert world.engine.counters().relays == 0
        allocation.send(channel_data(b"late"))
        await world.dropped(no_allocation=1)

    async def test_a_relay_ends_on_its_second(self, world: World) -> None:
        allocation = Allocation(world)
        world.engine.extend(allocation.relay, world.clock.now + 50)
        world.clock.now += 49.999
        await allocation.passes()
        world.clock.now += 0.001
        allocation.send(channel_data(b"late"))
        allocation.send(send_indication(allocation.peer.address, b"late"))
        allocation.answer(b"late")
        await world.dropped(expired=3)
        world.engine.extend(allocation.relay, world.clock.now + 1)
        await allocation.passes()

    async def test_a_reserved_relay_keeps_what_has_arrived(self, world: World) -> None:
        client, peer = world.client(), world.peer()
        relay, bound = world.open_relay(None, lasts=30)
        world.permit(relay, peer)
        peer.send(b"early", bound)
        world.engine.move(relay, world.leg(client), world.clock.now + 600)
        data, _ = await client.receive()
        assert data_of(data) == (peer.address, b"early")
        world.clock.now += 299
        peer.send(b"later", bound)
        assert data_of((await client.receive())[0]) == (peer.address, b"later")

    async def test_a_moved_relay_serves_the_new_leg_alone(self, world: World) -> None:
        allocation = Allocation(world)
        former, allocation.client = allocation.client, world.client()
        world.engine.move(allocation.relay, world.leg(allocation.client), world.clock.now + 600)
        await allocation.passes()
        former.send(channel_data(b"late"), allocation.server)
        await world.dropped(no_allocation=1)
        assert former.has_nothing()

    async def test_a_relay_moved_to_its_own_leg_goes_on(self, world: World) -> None:
        allocation = Allocation(world)
        world.engine.move(allocation.relay, allocation.leg, world.clock.now + 600)
        await allocation.passes()

    async def test_relays_of_both_families_share_the_channel_numbers(self, world: World) -> None:
        allocation = Allocation(world)
        relay, relayed = world.open_relay(allocation.leg, "::1")
        peer = world.peer("::1")
        world.permit(relay, peer)
        world.bind(relay, peer, 0x4001)
        allocation.send(channel_data(b"six", 0x4001))
        assert await peer.receive() == (b"six", relayed)
        peer.send(b"back", relayed)
        assert (await allocation.client.receive())[0] == channel_data(b"back", 0x4001)
        allocation.send(send_indication(peer.address, b"by name"))
        assert await peer.receive() == (b"by name", relayed)
        await allocation.passes()
        world.engine.close_relay(relay)
        await allocation.passes()

    async def test_a_closed_listener_takes_its_relays_along(self, world: World) -> None:
        allocation = Allocation(world)
        world.engine.close_listener(world.listener)
        assert world.engine.relay_counters(allocation.relay) is None
        world.engine.close_listener(world.listener)


class Channels:
    async def test_packets_pass_both_ways(self, world: World) -> None:
        await Allocation(world).passes()

    async def test_packets_pass_both_ways_by_ipv6(self, world: World) -> None:
        await Allocation(world, "::1").passes()

    @pytest.mark.parametrize("data", [b"", b"x", bytes(1_200)])
    async def test_any_size_passes(self, world: World, data: bytes) -> None:
        allocation = Allocation(world)
        allocation.send(channel_data(data))
        assert await allocation.peer.receive() == (data, allocation.relayed)
        allocation.answer(data)
        assert (await allocation.client.receive())[0] == channel_data(data)

    async def test_padding_of_a_datagram_is_taken_off(self, world: World) -> None:
        allocation = Allocation(world)
        allocation.send(channel_data(b"data!") + b"\0\0\0")
        assert (await allocation.peer.receive())[0] == b"data!"

    async def test_a_number_that_is_not_bound_is_dropped(self, world: World) -> None:
        allocation = Allocation(world)
        allocation.send(channel_data(b"data", CHANNEL + 1))
        await world.dropped(no_channel=1)

    async def test_a_channel_ends_on_its_second(self, world: World) -> None:
        allocation = Allocation(world)
        world.engine.permit(allocation.relay, LOOPBACK, 9e9)
        world.bind(allocation.relay, allocation.peer, lasts=100)
        world.clock.now += 99.999
        await allocation.passes()
        world.clock.now += 0.001
        allocation.send(channel_data(b"late"))
        await world.dropped(no_channel=1)
        allocation.answer(b"as an indication")
        data, _ = await allocation.client.receive()
        assert data_of(data) == (allocation.peer.address, b"as an indication")

    async def test_a_passed_deadline_removes_a_channel(self, world: World) -> None:
        allocation = Allocation(world)
        world.bind(allocation.relay, allocation.peer, lasts=0)
        allocation.send(channel_data(b"late"))
        await world.dropped(no_channel=1)

    async def test_a_channel_does_not_need_the_permission_on_the_way_out(
        self, world: World
    ) -> None:
        # RFC 8656 section 12.6: ChannelData needs a bound channel; section 11.3: a peer's
        # datagram needs the permission, with or without a channel.
        allocation = Allocation(world)
        world.engine.permit(allocation.relay, LOOPBACK, world.clock.now)
        allocation.send(channel_data(b"up"))
        assert (await allocation.peer.receive())[0] == b"up"
        allocation.answer(b"down")
        await world.dropped(no_permission=1)

    async def test_a_number_has_one_peer_and_a_peer_one_number(self, world: World) -> None:
        allocation = Allocation(world)
        other = world.peer()
        world.bind(allocation.relay, other)
        allocation.send(channel_data(b"to the other"))
        assert (await other.receive())[0] == b"to the other"
        allocation.answer(b"by name")
        assert data_of((await allocation.client.receive())[0])[1] == b"by name"
        world.bind(allocation.relay, other, CHANNEL + 1)
        allocation.send(channel_data(b"nobody's"))
        await world.dropped(no_channel=1)
        other.send(b"back", allocation.relayed)
        assert (await allocation.client.receive())[0] == channel_data(b"back", CHANNEL + 1)

    async def test_a_number_is_taken_over_from_the_other_family(self, world: World) -> None:
        allocation = Allocation(world)
        relay, relayed = world.open_relay(allocation.leg, "::1")
        peer = world.peer("::1")
        world.bind(relay, peer)
        allocation.send(channel_data(b"six"))
        assert await peer.receive() == (b"six", relayed)
        allocation.answer(b"by name")
        assert data_of((await allocation.client.receive())[0])[1] == b"by name"

    async def test_channels_of_clients_are_their_own(self, world: World) -> None:
        allocations = [Allocation(world) for _ in range(3)]
        for allocation in allocations:
            await allocation.passes()


class Indications:
    async def test_data_passes_both_ways(self, world: World) -> None:
        allocation = Allocation(world)
        peer = world.peer()
        allocation.send(send_indication(peer.address, b"up"))
        assert await peer.receive() == (b"up", allocation.relayed)
        peer.send(b"down", allocation.relayed)
        data, source = await allocation.client.receive()
        assert data_of(data) == (peer.address, b"down")
        assert source == allocation.server

    async def test_empty_data_is_an_empty_datagram(self, world: World) -> None:
        allocation = Allocation(world)
        peer = world.peer()
        allocation.send(send_indication(peer.address, b""))
        assert await peer.receive() == (b"", allocation.relayed)
        peer.send(b"", allocation.relayed)
        assert data_of((await allocation.client.receive())[0]) == (peer.address, b"")

    @pytest.mark.parametrize("size", range(1, 6))
    async def test_every_padding_is_right(self, world: World, size: int) -> None:
        allocation = Allocation(world, "::1")
        peer = world.peer("::1")
        peer.send(bytes(size), allocation.relayed)
        assert data_of((await allocation.client.receive())[0]) == (peer.address, bytes(size))

    async def test_dont_fragment_is_understood(self, world: World) -> None:
        allocation = Allocation(world)
        marked = (attributes.DONT_FRAGMENT, True)
        allocation.send(send_indication(allocation.peer.address, b"whole", marked))
        assert (await allocation.peer.receive())[0] == b"whole"
        await allocation.passes()

    @pytest.mark.parametrize(
        "number", [attributes.LIFETIME, attributes.CHANNEL_NUMBER, attributes.EVEN_PORT]
    )
    async def test_attributes_that_must_be_understood_and_are_not(
        self, world: World, number: Any
    ) -> None:
        allocation = Allocation(world)
        value: Any = True if number is attributes.EVEN_PORT else 0x4000
        allocation.send(send_indication(allocation.peer.address, b"data", (number, value)))
        await world.dropped(malformed_indication=1)

    async def test_what_may_stand_beside_the_data(self, world: World) -> None:
        allocation = Allocation(world)
        more = [(attributes.SOFTWARE, "client"), (attributes.USERNAME, "alice")]
        allocation.send(send_indication(allocation.peer.address, b"data", *more))
        assert (await allocation.peer.receive())[0] == b"data"

    @pytest.mark.parametrize("missing", [attributes.XOR_PEER_ADDRESS, attributes.DATA])
    async def test_peer_and_data_are_both_needed(self, world: World, missing: Any) -> None:
        allocation = Allocation(world)
        both: list[tuple[Any, Any]] = [
            (attributes.XOR_PEER_ADDRESS, allocation.peer.address),
            (attributes.DATA, b"data"),
        ]
        present = [pair for pair in both if pair[0] is not missing]
        allocation.send(encode_message(Method.SEND, MessageClass.INDICATION, bytes(12), present))
        await world.dropped(malformed_indication=1)

    async def test_a_peer_without_permission_is_not_reached(self, world: World) -> None:
        allocation = Allocation(world)
        peer = world.peer("127.0.0.2")
        allocation.send(send_indication(peer.address, b"data"))
        peer.send(b"data", allocation.relayed)
        allocation.send(send_indication(TransportAddress("::1", 9), b"other family"))
        await world.dropped(no_permission=3)
        assert peer.has_nothing()
        assert allocation.client.has_nothing()

    async def test_a_permission_is_for_every_port_of_a_host(self, world: World) -> None:
        allocation = Allocation(world)
        for peer in [world.peer() for _ in range(3)]:
            peer.send(b"data", allocation.relayed)
            assert data_of((await allocation.client.receive())[0])[0] == peer.address

    async def test_a_permission_ends_on_its_second(self, world: World) -> None:
        allocation = Allocation(world)
        peer = world.peer()
        world.permit(allocation.relay, peer, lasts=5)
        world.clock.now += 4.999
        allocation.send(send_indication(peer.address, b"in time"))
        assert (await peer.receive())[0] == b"in time"
        world.clock.now += 0.001
        allocation.send(send_indication(peer.address, b"late"))
        peer.send(b"late", allocation.relayed)
        allocation.answer(b"late by channel")
        await world.dropped(no_permission=3)

    async def test_nothing_that_is_sent_refreshes_a_permission(self, world: World) -> None:
        allocation = Allocation(world)
        peer = world.peer()
        for _ in range(3):
            world.clock.now += 99
            allocation.send(send_indication(peer.address, b"data"))
            await peer.receive()
        world.clock.now += 3
        allocation.send(send_indication(peer.address, b"late"))
        await world.dropped(no_permission=1)


class Failures:
    async def test_a_send_that_fails_is_one_lost_packet(self, world: World) -> None:
        allocation = Allocation(world)
        closed = world.refuse(world.peer())
        world.engine.permit(allocation.relay, closed.host, 9e9)
        world.engine.bind_channel(allocation.relay, ChannelNumber(0x4005), closed, 9e9)
        allocation.send(channel_data(b"refused", 0x4005))
        allocation.send(send_indication(closed, b"refused"))
        await world.dropped(refused=2)
        await allocation.passes()

    async def test_counters_tell_packets_and_payload(self, world: World) -> None:
        allocation = Allocation(world)
        await allocation.passes()
        allocation.send(send_indication(allocation.peer.address, b"three"))
        await allocation.peer.receive()
        expected = RelayCounters(2, 7, 1, 4)
        await world.until(lambda: world.relayed(allocation.relay) == expected)
        counters = world.engine.counters()
        assert counters.totals == expected
        assert counters.by_transport[Transport.UDP] == expected
        assert counters.by_transport[Transport.TCP] == RelayCounters()
        assert counters.by_listener[world.listener] == expected

    async def test_a_relay_tells_when_and_why_not(self, world: World) -> None:
        allocation = Allocation(world)
        report = world.engine.relay_counters(allocation.relay)
        assert report is not None
        assert (report.last_from_client, report.last_to_client) == (0.0, 0.0)
        allocation.send(channel_data(b"up"))
        await allocation.peer.receive()
        up, world.clock.now = world.clock.now, world.clock.now + 5
        allocation.answer(b"down")
        await allocation.client.receive()
        world.peer("127.0.0.2").send(b"uninvited", allocation.relayed)
        allocation.send(send_indication(TransportAddress("127.0.0.2", 9), b"uninvited"))
        allocation.send(b"\xff")
        await world.dropped(no_permission=2, not_stun=1)
        report = world.engine.relay_counters(allocation.relay)
        assert report is not None
        assert report.last_from_client == pytest.approx(up)
        assert report.last_to_client == pytest.approx(up + 5)
        assert {why: n for why, n in report.drops.items() if n} == {Drop.NO_PERMISSION: 2}

    async def test_sums_never_go_down(self, world: World) -> None:
        allocation = Allocation(world)
        await allocation.passes()
        before = world.engine.counters()
        stream = await world.connect(Transport.TCP)
        world.engine.move(allocation.relay, stream.leg, 9e9)
        assert world.engine.counters().by_transport == before.by_transport
        allocation.answer(b"now by TCP")
        assert await stream.receive() == channel_data(b"now by TCP")
        world.engine.close_relay(allocation.relay)
        after = world.engine.counters()
        assert after.totals == RelayCounters(1, 2, 2, 14)
        assert after.by_transport[Transport.UDP] == before.totals
        assert after.by_transport[Transport.TCP] == RelayCounters(0, 0, 1, 10)

    async def test_tidying_changes_nothing_that_can_be_seen(self, world: World) -> None:
        allocation = Allocation(world)
        world.engine.tick()
        await allocation.passes()
        world.clock.now += 300
        world.engine.tick()
        allocation.send(send_indication(allocation.peer.address, b"late"))
        await world.dropped(no_permission=1)
        allocation.send(channel_data(b"still bound"))
        assert (await allocation.peer.receive())[0] == b"still bound"
        world.permit(allocation.relay, allocation.peer)
        await allocation.passes()
        world.clock.now += 300
        world.engine.extend(allocation.relay, 9e9)
        world.engine.tick()
        allocation.send(channel_data(b"late"))
        await world.dropped(no_permission=1, no_channel=1)
