"""Which peers nobody reaches, whatever the configuration allows."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.runtime.servers import heard, running
from tests.waiting import eventually
from turnd.client.errors import StunError
from turnd.engine.base import Drop
from turnd.runtime.names import Names, UnknownNameError
from turnd.runtime.protection import Resolver
from turnd.stun.addresses import TransportAddress
from turnd.system import host_addresses

if TYPE_CHECKING:
    from pathlib import Path

OPEN = {"allow": ["0.0.0.0/0", "::/0"]}


def drops(counters: dict[Drop, int]) -> int:
    return counters.get(Drop.FORBIDDEN_PEER, 0)


async def test_a_wildcard_listener_is_every_address_of_the_host(tmp_path: Path) -> None:
    listen = ["udp://0.0.0.0:0", "tcp://0.0.0.0:0"]
    relay = {"addresses": ["127.0.0.1", "::1"]}
    async with running(tmp_path, listen=listen, peers=OPEN, relay=relay) as run:
        client = await run.client()
        await client.allocate()
        hosts = {h for h in host_addresses() if ":" not in h} | {"127.0.0.1", "127.8.8.8"}
        for port in (run.port("udp"), run.port("tcp")):
            for host in hosts:
                with pytest.raises(StunError, match="403"):
                    await client.channel_bind(TransportAddress(host, port))
        sent = 0
        for host in hosts:
            await client.create_permission(host)
            await client.send(
                TransportAddress(host, run.port("udp")), b"\0\1\0\0!\x12\xa4Bxxxxxxxxxxxx"
            )
            sent += 1
        await eventually(lambda: drops(run.server.engine.counters().drops) == sent)
        assert run.server.engine.counters().totals.packets_from_client == 0


async def test_a_named_listener_and_the_admin_s(tmp_path: Path) -> None:
    async with running(tmp_path, peers=OPEN) as run:
        client = await run.client()
        await client.allocate()
        assert run.server.admin_endpoint is not None
        for port in (run.port("udp"), run.port("tcp"), run.server.admin_endpoint.port):
            with pytest.raises(StunError, match="403"):
                await client.channel_bind(TransportAddress("127.0.0.1", port))


async def test_two_clients_reach_each_other_at_an_address_of_the_server(tmp_path: Path) -> None:
    """As behind 1:1 NAT: what is announced exists nowhere, and special-purpose it is, too."""
    relay = {"addresses": ["127.0.0.1=203.0.113.7"], "ports": "20000-59999"}
    listen = ["udp://0.0.0.0:0", "tcp://0.0.0.0:0"]
    async with running(tmp_path, relay=relay, listen=listen, peers={}) as run:
        one, other = await run.client(), await run.client()
        here, there = (await one.allocate()).relayed[0], (await other.allocate()).relayed[0]
        assert here.host == there.host == "203.0.113.7"
        await one.channel_bind(there)
        await other.create_permission(here)
        await one.send(there, b"by channel")
        assert await heard(other) == (here, b"by channel")
        await other.send(here, b"by indication")
        assert await heard(one) == (there, b"by indication")
        # Nothing else on the host is thereby reached.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
            program.bind(("127.0.0.1", 0))
            program.setblocking(False)
            await other.send(TransportAddress("203.0.113.7", program.getsockname()[1]), b"hello")
            await eventually(lambda: drops(run.server.engine.counters().drops) == 1)
            with pytest.raises(BlockingIOError):
                program.recv(100)
        with pytest.raises(StunError, match="403"):
            await one.channel_bind(TransportAddress("203.0.113.7", run.port("udp")))
        await other.close()
        await one.send(there, b"nobody there")
        await eventually(lambda: drops(run.server.engine.counters().drops) == 2)


async def test_only_what_changed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, peers=OPEN) as run:
        client = await run.client()
        await client.allocate()
        realm = run.server.turn.state.realms["test.example"]
        before = realm.policy
        await run.server.protection.refresh()
        assert realm.policy is before
        monkeypatch.setattr("turnd.runtime.assembly.host_addresses", lambda: ["198.18.0.9"])
        await run.server.protection.refresh()
        assert realm.policy is not before
        before = realm.policy
        await run.server.protection.renew()
        assert realm.policy is not before


async def test_names() -> None:
    resolver = Resolver(Names())
    assert TransportAddress("127.0.0.1", 1) in await resolver.resolve([("localhost", 1)])
    assert await resolver.resolve([("::1", 2)]) == {TransportAddress("::1", 2)}
    assert await resolver.resolve([]) == set()
    assert await resolver.resolve([("x" * 70, 3)]) == set()


async def test_a_name_that_nobody_answers_for_keeps_what_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Resolver(Names())
    before = await resolver.resolve([("localhost", 1)])

    async def fail(_: Names, name: str) -> tuple[str, ...]:
        raise UnknownNameError(f"{name}: try again")

    monkeypatch.setattr(Names, "look_up", fail)
    assert await resolver.resolve([("localhost", 1)]) == before
    assert await resolver.resolve([("localhost", 1), ("other", 2)]) == before
