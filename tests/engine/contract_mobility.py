"""What every engine does when a client changes its path, by RFC 8016 (see `contract`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import (
    REQUEST,
    channel_data,
    data_of,
    send_indication,
)
from tests.engine.contract_streams import padded, with_channel
from tests.engine.worlds import CHANNEL
from turnd.engine.base import (
    FORMER_LEG_GRACE,
    ClientMessage,
    CloseReason,
    LegClosed,
    MediaWaiting,
    RelayCounters,
    Transport,
)
from turnd.engine.heldback import BESIDE, ROOM

if TYPE_CHECKING:
    from tests.engine.worlds import Party, StreamClient, World
    from turnd.engine.base import Leg, RelayId
    from turnd.stun.addresses import TransportAddress

UDP, TCP, TLS = TRANSPORTS = (Transport.UDP, Transport.TCP, Transport.TLS)
"""For DTLS see `contract_dtls`: not every engine has it."""
PAIRS = pytest.mark.parametrize(("old", "new"), list(product(TRANSPORTS, TRANSPORTS)))
ANY = pytest.mark.parametrize("transport", TRANSPORTS)


class Way(ABC):
    """A client's way to the server, by whatever transport."""

    leg: Leg

    @abstractmethod
    def send(self, data: bytes, number: int = CHANNEL) -> None:
        """ChannelData."""

    @abstractmethod
    def send_plain(self, message: bytes) -> None:
        """A STUN message."""

    @abstractmethod
    async def receive(self) -> bytes: ...


class Datagrams(Way):
    def __init__(self, world: World) -> None:
        self.client = world.client()
        self.leg = world.leg(self.client)
        self._server = world.engine.endpoint(world.listener)

    def send(self, data: bytes, number: int = CHANNEL) -> None:
        self.send_plain(channel_data(data, number))

    def send_plain(self, message: bytes) -> None:
        self.client.send(message, self._server)

    async def receive(self) -> bytes:
        return (await self.client.receive())[0]


class Connected(Way):
    def __init__(self, stream: StreamClient) -> None:
        self.stream = stream
        self.leg = stream.leg

    def send(self, data: bytes, number: int = CHANNEL) -> None:
        assert number == CHANNEL
        self.send_plain(padded(data))

    def send_plain(self, message: bytes) -> None:
        self.stream.send(message)

    async def receive(self) -> bytes:
        return await self.stream.receive()


async def path_by(world: World, transport: Transport) -> Way:
    return Connected(await world.connect(transport)) if transport.is_stream else Datagrams(world)


class Call:
    """A client with a relay and a channel to a peer, on a path that it may change."""

    def __init__(self, world: World, path: Way) -> None:
        self.world = world
        self.path = path
        self.relay, self.relayed = world.open_relay(path.leg)
        self.peer = world.peer()
        world.permit(self.relay, self.peer)
        world.bind(self.relay, self.peer)

    async def up(self, path: Way, data: bytes) -> None:
        path.send(data)
        assert await self.peer.receive() == (data, self.relayed)

    async def down(self, path: Way, data: bytes) -> None:
        self.peer.send(data, self.relayed)
        assert await path.receive() == channel_data(data)

    async def announces(self, path: Way, data: bytes) -> None:
        """The first media on a new path waits, and Python hears of it."""
        self.world.engine.hold_back(path.leg)
        path.send(data)
        assert await self.world.events(1) == [MediaWaiting(path.leg)]


async def call_by(world: World, transport: Transport) -> Call:
    return Call(world, await path_by(world, transport))


class Mobility:
    @PAIRS
    async def test_both_paths_work_until_media_comes_by_the_new_one(
        self, world: World, old: Transport, new: Transport
    ) -> None:
        call = await call_by(world, old)
        path = await path_by(world, new)
        world.engine.hold_back(path.leg)
        await call.up(call.path, b"old up")
        await call.down(call.path, b"old down")
        path.send_plain(REQUEST)
        assert await world.events(1) == [ClientMessage(path.leg, REQUEST)]
        path.send(b"first")
        assert await world.events(1) == [MediaWaiting(path.leg)]
        path.send(b"second")
        await call.up(call.path, b"still the old one")
        await call.down(call.path, b"and down")
        world.engine.hand_over([call.relay], path.leg)
        assert await call.peer.receive() == (b"first", call.relayed)
        assert await call.peer.receive() == (b"second", call.relayed)
        await call.up(path, b"new up")
        await call.down(path, b"new down")
        assert not world.engine.poll()

    @PAIRS
    async def test_what_is_late_by_the_old_path_follows(
        self, world: World, old: Transport, new: Transport
    ) -> None:
        call = await call_by(world, old)
        path = await path_by(world, new)
        await call.announces(path, b"fast")
        world.engine.hand_over([call.relay], path.leg)
        assert await call.peer.receive() == (b"fast", call.relayed)
        await call.up(call.path, b"late")
        call.path.send_plain(send_indication(call.peer.address, b"late, too"))
        assert await call.peer.receive() == (b"late, too", call.relayed)
        call.path.send_plain(REQUEST)
        assert await world.events(1) == [ClientMessage(call.path.leg, REQUEST)]
        await call.down(path, b"by the new one")
        world.clock.now += FORMER_LEG_GRACE - 0.1
        world.engine.tick()
        await call.up(call.path, b"very late")
        world.clock.now += 0.1
        call.path.send(b"too late")
        await world.dropped(no_allocation=1)
        world.engine.tick()
        call.path.send(b"even more so")
        await world.dropped(no_allocation=2)
        await call.up(path, b"new up")
        assert not world.engine.poll()

    @PAIRS
    async def test_what_is_late_follows_one_move(
        self, world: World, old: Transport, new: Transport
    ) -> None:
        """Three at once, the last one back to the first path."""
        call = await call_by(world, old)
        second, third = await path_by(world, new), await path_by(world, old)
        await call.announces(second, b"1")
        world.engine.hand_over([call.relay], second.leg)
        await call.announces(third, b"2")
        world.engine.hand_over([call.relay], third.leg)
        await call.announces(call.path, b"3")
        world.engine.hand_over([call.relay], call.path.leg)
        assert [(await call.peer.receive())[0] for _ in range(3)] == [b"1", b"2", b"3"]
        await call.up(third, b"still")
        await call.up(call.path, b"as ever")
        second.send(b"overtaken twice")
        await world.dropped(no_allocation=1)
        world.engine.close_relay(call.relay)
        for count, path in enumerate((second, third, call.path), 2):
            path.send(b"gone")
            await world.dropped(no_allocation=count)

    @ANY
    async def test_a_leg_with_relays_of_its_own_follows_nobody(
        self, world: World, transport: Transport
    ) -> None:
        call = await call_by(world, transport)
        path = await path_by(world, UDP)
        await call.announces(path, b"gone")
        world.engine.hand_over([call.relay], path.leg)
        assert await call.peer.receive() == (b"gone", call.relayed)
        world.open_relay(call.path.leg)
        call.path.send(b"of the new allocation")
        await world.dropped(no_channel=1)
        world.clock.now += FORMER_LEG_GRACE
        world.engine.tick()
        call.path.send(b"whose client is not forgotten")
        await world.dropped(no_channel=2)

    @PAIRS
    async def test_nothing_is_lost_or_comes_twice(
        self, world: World, old: Transport, new: Transport
    ) -> None:
        call = await call_by(world, old)
        number = 0
        for transport in (new, old, new, old):
            path = await path_by(world, transport)
            expected = range(number, number + 12)
            arrived = []
            world.engine.hold_back(path.leg)
            for number in expected:
                packet = number.to_bytes(4)
                call.peer.send(packet, call.relayed)
                if number < expected[4]:
                    await call.up(call.path, packet)
                    arrived.append(await call.path.receive())
                else:
                    path.send(packet)
                if number == expected[7]:
                    assert await world.events(1) == [MediaWaiting(path.leg)]
                    arrived += [await call.path.receive() for _ in expected[4:8]]
                    world.engine.hand_over([call.relay], path.leg)
            arrived += [await path.receive() for _ in expected[8:]]
            assert arrived == [channel_data(each.to_bytes(4)) for each in expected]
            sent = [(await call.peer.receive())[0] for _ in expected[4:]]
            assert sent == [each.to_bytes(4) for each in expected[4:]]
            call.path, number = path, expected.stop
        assert not world.drops()

    @ANY
    async def test_a_send_indication_is_media_too(self, world: World, transport: Transport) -> None:
        call = await call_by(world, UDP)
        path = await path_by(world, transport)
        world.engine.hold_back(path.leg)
        path.send_plain(send_indication(call.peer.address, b"said"))
        assert await world.events(1) == [MediaWaiting(path.leg)]
        world.engine.hand_over([call.relay], path.leg)
        assert await call.peer.receive() == (b"said", call.relayed)

    @ANY
    async def test_a_large_frame_waits_as_well(self, world: World, transport: Transport) -> None:
        call = await call_by(world, UDP)
        path = await path_by(world, transport)
        await call.announces(path, bytes(8_192))
        world.engine.hand_over([call.relay], path.leg)
        assert await call.peer.receive() == (bytes(8_192), call.relayed)

    @ANY
    async def test_without_relays_what_waits_is_dropped(
        self, world: World, transport: Transport
    ) -> None:
        call = await call_by(world, UDP)
        path = await path_by(world, transport)
        await call.announces(path, b"in vain")
        world.engine.hand_over([], path.leg)
        await world.dropped(no_allocation=1)
        path.send(b"again")
        await world.dropped(no_allocation=2)
        await call.up(call.path, b"the old one")
        await call.down(call.path, b"is as it was")
        assert not world.engine.poll()

    @ANY
    async def test_what_waits_is_bounded(self, world: World, transport: Transport) -> None:
        call = await call_by(world, UDP)
        path = await path_by(world, transport)
        size = 1_000
        await call.announces(path, bytes(size))
        fits = ROOM // (size + 4 + BESIDE)
        for _ in range(fits + 2):
            path.send(bytes(size))
            path.send_plain(REQUEST)
            await world.events(1)
        await world.dropped(queue_full=3)
        world.engine.hand_over([call.relay], path.leg)
        for _ in range(fits):
            assert (await call.peer.receive())[0] == bytes(size)

    async def test_a_leg_with_relays_is_not_held_back(self, world: World) -> None:
        call = await call_by(world, UDP)
        world.engine.hold_back(call.path.leg)
        await call.up(call.path, b"as ever")
        world.engine.hand_over([], call.path.leg)
        await call.down(call.path, b"as ever")

    @ANY
    async def test_relays_of_both_families_go_together(
        self, world: World, transport: Transport
    ) -> None:
        call = await call_by(world, UDP)
        relay, relayed = world.open_relay(call.path.leg, "::1")
        peer = world.peer("::1")
        world.permit(relay, peer)
        path = await path_by(world, transport)
        await call.announces(path, b"four")
        path.send_plain(send_indication(peer.address, b"six"))
        world.engine.hand_over([call.relay, relay], path.leg)
        assert await call.peer.receive() == (b"four", call.relayed)
        assert await peer.receive() == (b"six", relayed)
        peer.send(b"back", relayed)
        assert data_of(await path.receive()) == (peer.address, b"back")

    @PAIRS
    async def test_what_was_relayed_is_counted_where_it_was(
        self, world: World, old: Transport, new: Transport
    ) -> None:
        call = await call_by(world, old)
        path = await path_by(world, new)
        await call.up(call.path, b"123")
        await call.down(call.path, b"12345")
        first, second = RelayCounters(1, 3, 1, 5), RelayCounters(1, 2, 0, 0)
        await world.until(lambda: world.relayed(call.relay) == first)
        await call.announces(path, b"12")
        world.engine.hand_over([call.relay], path.leg)
        await call.peer.receive()
        both = RelayCounters(2, 5, 1, 5)
        await world.until(lambda: world.relayed(call.relay) == both)
        by_transport = world.engine.counters().by_transport
        if old is new:
            assert by_transport[old] == both
        else:
            assert (by_transport[old], by_transport[new]) == (first, second)

    @pytest.mark.parametrize("old", [TCP, TLS])
    @ANY
    async def test_relays_outlive_a_connection_until_python_decides(
        self, world: World, old: Transport, transport: Transport
    ) -> None:
        stream = await world.connect(old)
        relay, relayed, peer = with_channel(world, stream)
        peer.send(b"one", relayed)
        await stream.receive()
        stream.close()
        assert await world.events(1) == [LegClosed(stream.leg, CloseReason.CLIENT)]
        counters = RelayCounters(0, 0, 1, 3)
        assert world.engine.counters().totals == world.relayed(relay) == counters
        peer.send(b"nobody hears it", relayed)
        await world.dropped(no_client=1)
        path = await path_by(world, transport)
        world.engine.hand_over([relay], path.leg)
        await self._passes(path, peer, relayed)
        assert world.engine.counters().totals == RelayCounters(1, 2, 2, 7)

    @staticmethod
    async def _passes(path: Way, peer: Party, relayed: TransportAddress) -> None:
        path.send(b"up")
        assert await peer.receive() == (b"up", relayed)
        peer.send(b"down", relayed)
        assert await path.receive() == channel_data(b"down")

    @pytest.mark.parametrize("transport", [TCP, TLS])
    async def test_a_connection_that_ends_takes_what_waits_along(
        self, world: World, transport: Transport
    ) -> None:
        call = await call_by(world, UDP)
        stream = await world.connect(transport)
        await call.announces(Connected(stream), b"last words")
        stream.close()
        assert await world.events(1) == [LegClosed(stream.leg, CloseReason.CLIENT)]
        await world.dropped(no_allocation=1)
        world.engine.hand_over([call.relay], stream.leg)
        await call.down(call.path, b"goes on")

    async def test_a_closed_listener_takes_what_waits_along(self, world: World) -> None:
        call = await call_by(world, TCP)
        path = Datagrams(world)
        await call.announces(path, b"last words")
        world.engine.close_listener(world.listener)
        await world.dropped(no_allocation=1)
        world.engine.hand_over([call.relay], path.leg)
        await call.down(call.path, b"goes on")

    async def test_legs_and_relays_that_are_gone_are_fine(self, world: World) -> None:
        call = await call_by(world, UDP)
        path = Datagrams(world)
        stream = await world.connect(TCP)
        world.engine.close_leg(stream.leg, CloseReason.SERVER)
        assert len(await world.events(1)) == 1
        world.engine.hold_back(stream.leg)
        world.engine.hand_over([call.relay], stream.leg)
        await call.down(call.path, b"where it was")
        gone: RelayId = call.relay
        world.engine.close_relay(gone)
        world.engine.hand_over([gone], path.leg)
        path.send(b"late")
        await world.dropped(no_allocation=1)
