"""What the native engine has for itself: workers' CPUs, challenges, and that Python sees no media.

While the event loop is blocked, packets flow and rules end. All of that happens within one call
that awaits nothing, so that the loop of this thread, which is the only one to call the engine, has
no turn.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import Allocation, channel_data, data_of
from tests.engine.native_world import IOS, NativeWorld, SystemWorld
from tests.engine.socket_worlds import SocketParty
from tests.engine.worlds import LOOPBACK, SETTINGS
from tests.turn.harness import World as CoreWorld
from tests.waiting import LIMIT
from turnd.engine.base import ClientMessage, Drop, NonceKeys, Transport
from turnd.engine.native import NativeEngine
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from turnd.engine.base import Leg, ListenerId

ALLOCATE = encode_message(
    Method.ALLOCATE, MessageClass.REQUEST, bytes(12), [(a.REQUESTED_TRANSPORT, 17)]
)

BLOCKED = 2.0
"""Seconds."""
LASTS = 1.0
"""Seconds of a permission that ends meanwhile."""
LATE = 0.5
"""Seconds that a packet may be on its way, on a busy machine."""
RUN = 8
"""Packets at a time."""


@pytest.fixture(params=IOS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[SystemWorld]:
    surroundings = SystemWorld(request.param)
    yield surroundings
    await surroundings.close()


class Blocking:
    """A party's socket, read without the event loop."""

    def __init__(self, party: object) -> None:
        assert isinstance(party, SocketParty)
        self.sock = party.sock
        self.sock.settimeout(LIMIT)

    def receive(self) -> bytes:
        return self.sock.recv(65_536)

    def rest(self) -> list[bytes]:
        """All that has arrived by now."""
        self.sock.setblocking(False)
        found = []
        while True:
            try:
                found.append(self.receive())
            except BlockingIOError:
                return found


def packet(number: int) -> bytes:
    return number.to_bytes(4)


def number_of(indication: bytes) -> int:
    return int.from_bytes(data_of(indication)[1] or b"")


def run_both_ways(allocation: Allocation, client: Blocking, peer: Blocking, first: int) -> None:
    numbers = range(first, first + RUN)
    for number in numbers:
        allocation.send(channel_data(packet(number)))
        allocation.answer(packet(number))
    assert [peer.receive() for _ in numbers] == [packet(n) for n in numbers]
    assert [client.receive() for _ in numbers] == [channel_data(packet(n)) for n in numbers]


def test_packets_flow_and_a_permission_ends_while_the_loop_is_blocked(world: SystemWorld) -> None:
    lasting = Allocation(world)
    client, peer = Blocking(lasting.client), Blocking(lasting.peer)
    brief, stranger = world.client(), world.peer()
    relay, relayed_address = world.open_relay(world.leg(brief))
    sent_at: list[float] = []
    arrived: list[int] = []
    relayed = 0
    began = time.monotonic()
    deadline = began + LASTS
    world.engine.permit(relay, stranger.address.host, deadline)
    while time.monotonic() < began + BLOCKED:
        sent_at.append(time.monotonic())
        stranger.send(packet(len(sent_at) - 1), relayed_address)
        run_both_ways(lasting, client, peer, relayed)
        relayed += RUN
        arrived += [number_of(each) for each in Blocking(brief).rest()]

    assert world.woken == 0
    assert relayed > 10 * RUN
    in_time = [n for n, at in enumerate(sent_at) if at < deadline]
    assert arrived == in_time[: len(arrived)]
    assert sent_at[arrived[-1]] > deadline - LATE
    assert world.drops() == {Drop.NO_PERMISSION: len(sent_at) - len(arrived)}


def affinity_of_workers() -> list[set[int]]:
    """Where this process's workers may run, by their numbers."""
    names = {task: (task / "comm").read_text() for task in Path("/proc/self/task").iterdir()}
    workers = sorted((name, int(task.name)) for task, name in names.items() if "relay" in name)
    return [os.sched_getaffinity(thread) for _, thread in workers]


async def test_workers_stay_on_the_cpus_that_they_are_given_in_turn() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    engine = NativeEngine(len(cpus) + 1, cpus=cpus)
    engine.start(lambda: None)
    try:
        assert affinity_of_workers() == [{cpu} for cpu in [*cpus, cpus[0]]]
        assert os.sched_getaffinity(0) == set(cpus), "Python's thread roams"
    finally:
        engine.stop()


async def test_a_cpu_that_is_not_there_is_said_and_no_obstacle() -> None:
    engine = NativeEngine(1, cpus=[1_000])
    engine.start(lambda: None)
    try:
        assert any("not pinned to CPU 1000" in note for note in engine.notes)
    finally:
        engine.stop()


@pytest.mark.parametrize("fails", [False, True])
async def test_the_answers_to_a_batch_leave_when_it_ends(fails: bool) -> None:
    loop = asyncio.get_running_loop()
    raised: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))
    engine = NativeEngine()
    listener = engine.listen(TransportAddress("127.0.0.1", 0), SETTINGS)
    answers = [b"one", b"two"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)

        def wake() -> None:
            for event in engine.poll():
                for answer in answers:
                    engine.send_to_client(event.leg, answer)
                    with pytest.raises(BlockingIOError):
                        client.recv(100)
                if fails:
                    raise RuntimeError("a fault of a handler")

        engine.start(wake)
        try:
            client.sendto(ALLOCATE, engine.endpoint(listener))
            async with asyncio.timeout(LIMIT):
                assert [await loop.sock_recv(client, 100) for _ in answers] == answers
        finally:
            engine.stop()
    assert [str(each) for each in raised] == ["a fault of a handler"] * fails


class Challenging:
    """The keys and the challenge that the core would use, told to the engine."""

    def __init__(self, world: SystemWorld, listener: ListenerId) -> None:
        self.core = CoreWorld()
        self.nonces = self.core.server.nonces
        self.told = self.core.server.challenge_by(self.core.listener)
        self.engine = world.engine
        self.engine.challenge(listener, self.told)
        self.know_nonces(time.monotonic())

    def know_nonces(self, now: float) -> None:
        keys = self.nonces.keys(now)
        self.engine.know_nonces(NonceKeys(self.nonces.tick, self.nonces.mac_length, keys))

    def check(self, answer_bytes: bytes, leg: Leg) -> None:
        """The answer is the core's own, but for the nonce's time."""
        answer = decode_untrusted(answer_bytes)
        nonce = answer.get(a.NONCE)
        assert nonce is not None
        now = time.monotonic()
        assert self.nonces.check(nonce, leg.client, now).valid
        expected = self.core.server.receive(leg, ALLOCATE, now)
        assert isinstance(expected, bytes)
        ours, theirs = (decode_untrusted(each).attributes for each in (answer_bytes, expected))
        assert len(answer_bytes) == len(expected)
        assert [each for each in ours if each[0] != a.NONCE.number] == [
            each for each in theirs if each[0] != a.NONCE.number
        ]


def test_a_strangers_allocate_is_challenged_while_the_loop_is_blocked(world: SystemWorld) -> None:
    stranger = world.client()
    challenging = Challenging(world, world.listener)
    stranger.send(ALLOCATE, world.engine.endpoint(world.listener))
    challenging.check(Blocking(stranger).receive(), world.leg(stranger))
    assert world.woken == 0
    assert not world.engine.poll()
    assert world.engine.counters().challenges == 1


async def test_a_stream_is_challenged(world: SystemWorld) -> None:
    stream = await world.connect(Transport.TCP)
    challenging = Challenging(world, stream.leg.listener)
    world.engine.budget(1)
    for _ in range(3):
        stream.send(ALLOCATE)
        challenging.check(await stream.receive(), stream.leg)
    assert not world.engine.poll()
    assert world.engine.counters().challenges == 3


@pytest.mark.parametrize("why", ["no challenge", "taken back", "of another", "no key"])
async def test_who_is_not_to_be_challenged_is_handed_up(world: SystemWorld, why: str) -> None:
    stranger = world.client()
    if why == "taken back":
        Challenging(world, world.listener)
        world.engine.challenge(world.listener, None)
    elif why == "of another":
        Challenging(world, world.engine.stream_listener(SETTINGS))
    elif why == "no key":
        challenging = Challenging(world, world.listener)
        challenging.know_nonces(time.monotonic() + 10 * challenging.nonces.lifetime)
    stranger.send(ALLOCATE, world.engine.endpoint(world.listener))
    assert await world.events(1) == [ClientMessage(world.leg(stranger), ALLOCATE)]
    assert stranger.has_nothing()
    assert world.engine.counters().challenges == 0


async def test_what_is_signed_or_unknown_is_handed_up(world: SystemWorld) -> None:
    Challenging(world, world.listener)
    stranger = world.client()
    signed = encode_message(
        Method.ALLOCATE,
        MessageClass.REQUEST,
        bytes(12),
        [],
        integrity=Integrity(b"key", IntegrityAlgorithm.SHA1),
    )
    unknown = encode_message(0x0FF, MessageClass.REQUEST, bytes(12), [])
    for each in (signed, unknown):
        stranger.send(each, world.engine.endpoint(world.listener))
        assert await world.events(1) == [ClientMessage(world.leg(stranger), each)]
    assert world.engine.counters().challenges == 0


async def test_what_may_be_another_realms_is_handed_up(world: SystemWorld) -> None:
    stranger, client = world.client(), world.client()
    tcp, tls = await world.connect(Transport.TCP), await world.connect(Transport.TLS)
    challenging = Challenging(world, world.listener)
    named = replace(challenging.told, unless_named=True)
    world.open_relay(world.leg(client))
    here = world.engine.endpoint(world.listener)
    attributes = ((a.ORIGIN, "https://b.example"), (a.MOBILITY_TICKET, b"ticket"))
    for listener in (world.listener, tcp.leg.listener, tls.leg.listener):
        world.engine.challenge(listener, named)
    for each in attributes:
        request = encode_message(Method.REFRESH, MessageClass.REQUEST, bytes(12), [each])
        stranger.send(request, here)
        assert await world.events(1) == [ClientMessage(world.leg(stranger), request)]
    client.send(ALLOCATE, here)
    assert await world.events(1) == [ClientMessage(world.leg(client), ALLOCATE)]
    tls.send(ALLOCATE)
    assert await world.events(1) == [ClientMessage(tls.leg, ALLOCATE)]
    tcp.send(ALLOCATE)
    challenging.check(await tcp.receive(), tcp.leg)
    stranger.send(ALLOCATE, here)
    challenging.check((await stranger.receive())[0], world.leg(stranger))
    assert world.engine.counters().challenges == 2


async def test_challenges_are_under_the_budget(world: SystemWorld) -> None:
    Challenging(world, world.listener)
    world.engine.budget(10)
    stranger = world.client()
    for _ in range(30):
        stranger.send(ALLOCATE, world.engine.endpoint(world.listener))

    def are_seen() -> bool:
        counters = world.engine.counters()
        return counters.challenges + counters.over_budget == 30

    await world.until(are_seen)
    assert 10 <= world.engine.counters().challenges < 30
    assert not world.engine.poll()


@pytest.mark.parametrize("io", IOS)
async def test_a_flood_of_bindings_that_python_answers_stays_outside(io: str) -> None:
    world = NativeWorld(io, workers=2)
    settings = replace(SETTINGS, answers_bindings=False, classic_bindings=True)
    listener = world.engine.listen(TransportAddress(LOOPBACK, 0), settings)
    world.engine.budget(1)
    assert world.engine.draw(LOOPBACK)
    stranger = world.client()
    modern = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), [])
    classic = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(16), [])
    for each in (modern, classic):
        stranger.send(each, world.engine.endpoint(listener))
    await world.until(lambda: world.engine.counters().over_budget == 2)
    assert not world.engine.poll()
    world.clock.now += 1
    stranger.send(modern, world.engine.endpoint(listener))
    await world.events(1)
    await world.close()
