"""The server's public address changes while a call goes on."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.scripted import Exchange, scripted
from tests.e2e.calls import Call, allocated
from tests.e2e.inside import inside
from tests.e2e.namespaces import Namespace, join, new_namespace
from tests.e2e.server import PASSWORD, USER, Server, Surroundings, serve
from tests.e2e.test_turnutils import run
from tests.waiting import eventually
from turnd.client.errors import StunError
from turnd.client.uri import Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FIRST, LATER = "203.0.113.7", "203.0.113.8"


class Outside:
    """A STUN server elsewhere, that sees us as somebody."""

    def __init__(self) -> None:
        self.seen_as = FIRST

    def __call__(self, exchange: Exchange) -> None:
        exchange.succeed((a.XOR_MAPPED_ADDRESS, TransportAddress(self.seen_as, 40000)))


@asynccontextmanager
async def home(folder: Path, outside: Outside, **changes: Any) -> AsyncIterator[Server]:
    """A server at home: where it is, it asks every second. Peers are those of the default."""
    async with scripted(outside) as stun:
        entry = f"127.0.0.1=stun:127.0.0.1:{stun.server.port}"
        relay = {"addresses": [entry], "refresh_addresses": 1}
        with serve(folder, relay=relay, peers={}, **changes) as server:
            # While it started, nobody answered: this process had to wait for it.
            await eventually(lambda: server.logged("relay_address_found"))
            yield server


async def test_calls_go_on_and_new_ones_get_the_new_address(folder: Path) -> None:
    outside = Outside()
    async with home(folder, outside) as server:
        async with allocated(server) as one, allocated(server) as other:
            assert one.relayed.host == other.relayed.host == FIRST
            await one.sends_to(other)
            outside.seen_as = LATER
            await eventually(lambda: len(server.logged("relay_addresses_changed")) == 2)
            async with allocated(server) as new:
                assert new.relayed.host == LATER
                for here, there in ((one, other), (other, one), (one, new), (new, one)):
                    await here.sends_to(there)
                await by_channel(one, new)
                await by_channel(new, other)
        assert server.metric("turnd_relay_address_changes_total") == 2
        assert server.get("/readyz")[0] == 200
        for reason in ("forbidden_peer", "no_permission"):
            assert server.metric(f'turnd_packets_dropped_total{{reason="{reason}"}}') == 0


async def by_channel(one: Call, other: Call) -> None:
    await one.client.channel_bind(other.relayed)
    await one.sends_to(other, b"by channel")


async def test_a_name(folder: Path) -> None:
    relay = {"addresses": ["127.0.0.1=dns:localhost", "interface:none"]}
    with serve(folder, relay=relay) as server:
        async with allocated(server) as call:
            assert call.relayed.host == "127.0.0.1"
        (line,) = await eventually(lambda: server.logged("relay_address_not_here"))
        assert line["address"] == "interface:none"


async def test_a_reload_moves_a_server(folder: Path) -> None:
    with serve(folder, relay={"addresses": [f"127.0.0.1={FIRST}"]}, peers={}) as server:
        async with allocated(server) as old:
            server.rewrite(relay={"addresses": [f"127.0.0.1={LATER}"]})
            server.reload()
            await eventually(lambda: server.logged("reloaded"))
            async with allocated(server) as new:
                assert (old.relayed.host, new.relayed.host) == (FIRST, LATER)
                await old.sends_to(new)
                await new.sends_to(old)


LISTENS, BEFORE, AFTER, CLIENT = "10.0.0.1", "10.0.0.5", "10.0.0.6", "10.0.0.20"


async def relayed_at(host: Namespace) -> str:
    """Where a client of that host is relayed, whose packets to another come back by the server."""
    load = ("-v", "-c", "-y", "-s", "-n", "2", "-z", "5", "-p", "3478", "-u", USER, "-w", PASSWORD)
    status, output = await run(*host.prefix, "turnutils_uclient", *load, LISTENS)
    assert status == 0, output
    address: str
    (address,) = set(re.findall(r"Received relay addr: ([\d.]+):", output))
    assert "Total lost packets 0 " in output, output
    return address


async def test_an_interface_loses_its_address_and_gets_another(folder: Path) -> None:
    with new_namespace() as server_host, new_namespace(beside=server_host) as client_host:
        join(server_host, [f"{LISTENS}/24"], client_host, [f"{CLIENT}/24"])
        server_host.run("ip", "link", "add", "wan", "type", "veth", "peer", "name", "lan")
        server_host.run("ip", "link", "set", "dev", "wan", "up")
        server_host.run("ip", "address", "add", f"{BEFORE}/32", "dev", "wan")
        with serve(
            folder,
            surroundings=Surroundings(prefix=server_host.server_prefix, is_remote=True),
            listen=[f"udp://{LISTENS}:3478"],
            relay={"addresses": ["interface:wan"], "refresh_addresses": 1},
            peers={},
        ) as server:
            assert await relayed_at(client_host) == BEFORE
            server_host.run("ip", "address", "del", f"{BEFORE}/32", "dev", "wan")
            await eventually(lambda: server.logged("relay_address_not_here"))
            server_host.run("ip", "address", "add", f"{AFTER}/32", "dev", "wan")
            await eventually(lambda: server.logged("relay_address_found"))
            assert await relayed_at(client_host) == AFTER


async def test_a_line_that_is_down_for_a_while(folder: Path) -> None:
    """Nobody is given 127.0.0.1 meanwhile, or told that there is no IPv4 here."""
    with new_namespace() as server_host, new_namespace(beside=server_host) as client_host:
        join(server_host, [f"{LISTENS}/24"], client_host, [f"{CLIENT}/24"])
        server_host.run("ip", "link", "add", "wan", "type", "veth", "peer", "name", "lan")
        for name in ("wan", "lan"):
            server_host.run("ip", "link", "set", "dev", name, "up")
        server_host.run("ip", "address", "add", "10.9.0.5/24", "dev", "wan")
        route = ("ip", "route", "replace", "default", "via", "10.9.0.1", "dev", "wan")
        server_host.run(*route)
        with serve(
            folder,
            surroundings=Surroundings(prefix=server_host.server_prefix, is_remote=True),
            listen=[f"udp://{LISTENS}:3478"],
            relay={"addresses": ["auto"], "refresh_addresses": 1},
        ) as server:
            async with inside(client_host, LISTENS, Transport.UDP) as old:
                assert (await old.allocate()).relayed[0].host == "10.9.0.5"
                server_host.run("ip", "link", "set", "dev", "wan", "down")
                (line,) = await eventually(lambda: server.logged("relay_address_not_here"))
                assert (line["address"], line["reason"]) == ("auto", "this host has no route")
                async with inside(client_host, LISTENS, Transport.UDP) as new:
                    with pytest.raises(StunError, match="508"):
                        await new.allocate()
                server_host.run("ip", "link", "set", "dev", "wan", "up")
                server_host.run(*route)
                await eventually(lambda: server.logged("relay_address_found"))
                async with inside(client_host, LISTENS, Transport.UDP) as new:
                    assert (await new.allocate()).relayed[0].host == "10.9.0.5"
                assert await old.refresh() == 600
