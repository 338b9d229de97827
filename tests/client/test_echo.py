from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncio_dgram
import pytest

from tests.client.relaying import Relaying
from tests.client.scripted import FAST, INSISTENT, PATIENT, Exchange, mapped, scripted
from tests.waiting import eventually
from turnd.client.client import TurnClient
from turnd.client.echo import EchoResult, Probes, ReflexivePeer, RelayedPeer, measure
from turnd.client.errors import StunError, TransactionTimeoutError, UnreachableError
from turnd.client.session import ClientOptions
from turnd.client.uri import Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.message import MessageClass, Method, encode_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from turnd.client.allocating import Allocated

PROBES = Probes(count=10, interval=0.001, patience=30)
LOSSY = replace(PROBES, patience=1)
"""So that a test where something is lost does not wait long for it."""


@asynccontextmanager
async def two_clients(relaying: Relaying) -> AsyncIterator[list[tuple[TurnClient, Allocated]]]:
    options = ClientOptions(timing=PATIENT)
    with relaying:
        async with (
            scripted(relaying) as server,
            TurnClient(server.server, "alice", "s3cret", options) as one,
            TurnClient(server.server, "alice", "s3cret", options) as two,
        ):
            yield [(client, await client.allocate()) for client in (one, two)]


async def echoes(relaying: Relaying, probes: Probes = PROBES) -> EchoResult:
    async with two_clients(relaying) as ((one, first), (two, second)):
        peer = RelayedPeer(two, second.relayed[0])
        return await measure(one, peer, first.relayed[0], probes)


async def test_all_echoes_come_back() -> None:
    relaying = Relaying()

    result = await echoes(relaying)

    assert len(result.round_trips) == result.sent == 10
    assert result.loss == 0
    assert all(0 < time < 30 for time in result.round_trips)
    assert relaying.sent == 20


async def test_losses_are_counted() -> None:
    # Every fourth packet on either way is lost, so that five of ten come back at most.
    result = await echoes(Relaying(lose=4), LOSSY)

    assert 0 < len(result.round_trips) < 10
    assert result.loss == 1 - len(result.round_trips) / 10


async def test_nothing_comes_back() -> None:
    result = await echoes(Relaying(lose=1), LOSSY)

    assert result.round_trips == ()
    assert result.loss == 1


async def test_small_probes_are_large_enough_to_tell_apart() -> None:
    result = await echoes(Relaying(), Probes(count=4, size=0, interval=0, patience=30))

    assert result.loss == 0


async def test_a_refused_channel_is_an_error() -> None:
    with pytest.raises(StunError, match="403"):
        await echoes(Relaying(refuse={Method.CHANNEL_BIND: 403}))


async def test_others_packets_are_neither_echoed_nor_counted() -> None:
    async with two_clients(Relaying()) as ((one, first), (two, second)):
        stranger = await asyncio_dgram.bind(("127.0.0.1", 0))
        for relayed in (first.relayed[0], second.relayed[0]):
            await stranger.send(b"x" * 160, relayed)
        peer = RelayedPeer(two, second.relayed[0])

        result = await measure(one, peer, first.relayed[0], PROBES)

        assert result.loss == 0
        assert len(result.round_trips) == 10
        stranger.close()


async def test_a_connection_that_breaks_is_an_error() -> None:
    with Relaying(padded=True) as relaying:
        async with scripted(relaying, Transport.TCP) as server:
            options = ClientOptions(timing=PATIENT)
            async with TurnClient(server.server, "alice", "s3cret", options) as client:
                allocated = await client.allocate()
                relaying.refuse[Method.REFRESH] = 437
                await client.close(delete=False)

                peer = RelayedPeer(client, allocated.relayed[0])
                with pytest.raises(UnreachableError):
                    await measure(client, peer, allocated.relayed[0], PROBES)


class TestReflexive:
    async def test_it_learns_its_address_and_echoes_the_relay_alone(self) -> None:
        async with scripted(mapped) as server:
            binding = TransportAddress("127.0.0.1", server.server.port)
            async with ReflexivePeer(binding, PATIENT) as peer:
                relay = await asyncio_dgram.bind(("127.0.0.1", 0))
                stranger = await asyncio_dgram.bind(("127.0.0.1", 0))
                relayed = TransportAddress(*relay.sockname)
                running = asyncio.create_task(peer.run(relayed))

                assert await relay.recv() == (b"\0", tuple(peer.address)), "opens our NAT"
                await stranger.send(b"from elsewhere", peer.address)
                await relay.send(b"echo me", peer.address)
                assert (await relay.recv())[0] == b"echo me"

                running.cancel()
                await asyncio.wait([running])
                relay.close()
                stranger.close()

    async def test_icmp_errors_do_not_end_it(self) -> None:
        async with scripted(mapped) as server:
            binding = TransportAddress("127.0.0.1", server.server.port)
            async with ReflexivePeer(binding, PATIENT) as peer:
                relay = await asyncio_dgram.bind(("127.0.0.1", 0))
                assert peer._socket is not None
                for _ in range(3):
                    vars(peer._socket)["_excq"].put_nowait(ConnectionRefusedError())
                running = asyncio.create_task(peer.run(TransportAddress(*relay.sockname)))
                await relay.recv()

                await relay.send(b"echo me", peer.address)
                assert (await relay.recv())[0] == b"echo me"

                running.cancel()
                await asyncio.wait([running])
                relay.close()

    async def test_it_ends_with_its_socket(self) -> None:
        async with scripted(mapped) as server:
            binding = TransportAddress("127.0.0.1", server.server.port)
            async with ReflexivePeer(binding, PATIENT) as peer:
                running = asyncio.create_task(peer.run(binding))
                await eventually(lambda: len(server.seen) == 1)
            await running

    async def test_an_answer_that_is_lost_is_asked_for_again(self) -> None:
        def second(exchange: Exchange) -> None:
            if exchange.number == 1:
                mapped(exchange)

        async with scripted(second) as server:
            binding = TransportAddress("127.0.0.1", server.server.port)
            async with ReflexivePeer(binding, INSISTENT) as peer:
                assert peer.address == server.seen[0].client

    async def test_what_is_no_answer_is_ignored(self) -> None:
        def noisy(exchange: Exchange) -> None:
            exchange.send(b"garbage")
            exchange.send(encode_message(Method.BINDING, MessageClass.SUCCESS, b"x" * 12, ()))
            exchange.succeed((a.raw(a.XOR_MAPPED_ADDRESS.number), b"\0"))
            exchange.succeed()
            mapped(exchange)

        async with scripted(noisy) as server:
            binding = TransportAddress("127.0.0.1", server.server.port)
            async with ReflexivePeer(binding, PATIENT) as peer:
                assert peer.address == server.seen[0].client

    async def test_silence_is_a_timeout_and_leaves_nothing_open(self) -> None:
        async with scripted(lambda _: None) as server:
            binding = TransportAddress("127.0.0.1", server.server.port)
            with pytest.raises(TransactionTimeoutError):
                async with ReflexivePeer(binding, FAST):
                    raise AssertionError("nobody answered")

    async def test_it_runs_only_when_open(self) -> None:
        peer = ReflexivePeer(TransportAddress("127.0.0.1", 1), FAST)

        with pytest.raises(UnreachableError, match="not open"):
            await peer.run(TransportAddress("127.0.0.1", 2))
