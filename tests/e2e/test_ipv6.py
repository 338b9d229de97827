"""IPv6 everywhere: a host that has nothing else, and relays of another family than their client."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.e2e.namespaces import Namespace, join, new_namespace
from tests.e2e.server import LIMIT, PASSWORD, USER, Server, Surroundings, free_port, serve
from tests.e2e.test_chromium import PAGE, Case, chromium, make_home, opened
from tests.e2e.test_turnutils import (
    LEGS,
    echoing,
    loses_nothing,
    side_by_side,
    uclient,
)
from turnd.client.client import TurnClient
from turnd.stun.addresses import AddressFamily, PeerAddress, TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.async_api import Page

    from tests.e2e.certificates import Authority

SERVER, CLIENT = "2001:db8:6::5", "2001:db8:6::20"
ECHO_PORT = 9999
MESSAGES = 10
BY_USER = ("-u", USER, "-w", PASSWORD)

Hosts = tuple[Namespace, Namespace]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    """The server's host and the clients': IPv6 alone, but for the loopback that every host has."""
    with new_namespace() as server_host, new_namespace(beside=server_host) as client_host:
        join(server_host, [f"{SERVER}/64"], client_host, [f"{CLIENT}/64"])
        server_host.run("ip", "route", "add", "default", "via", CLIENT)
        yield server_host, client_host


@pytest.fixture(scope="module")
def ipv6_only(hosts: Hosts, authority: Authority, folders: Path) -> Iterator[Server]:
    """Endpoints as by default, TLS beside them; where to relay is for the host's routes to say."""
    with serve(
        folders / "ipv6-only",
        surroundings=Surroundings(prefix=hosts[0].server_prefix, is_remote=True),
        listen=[
            *(f"{t}://{host}:3478" for t in ("udp", "tcp") for host in ("0.0.0.0", "[::]")),
            "tls://[::]:5349",
            "dtls://[::]:5349",
        ],
        tls=authority.issue("ipv6-only", 30, SERVER).section(),
        relay={"addresses": ["auto"], "default_family": "client"},
        peers={"allow": ["2001:db8:6::/64"]},
        admin={"listen": "[::1]:9641"},
    ) as running:
        yield running


@pytest.fixture
def echo(hosts: Hosts) -> Iterator[None]:
    with echoing(ECHO_PORT, CLIENT, prefix=hosts[1].prefix):
        yield


async def reaches_the_echo(host: Namespace, leg: str, *options: str) -> None:
    port = "5349" if leg in ("tls", "dtls") else "3478"
    load = ("-v", "-n", str(MESSAGES), "-z", "50", "-c", "-p", port, *BY_USER)
    counts, output = await loses_nothing(
        leg, *host.prefix, "turnutils_uclient", *load, *LEGS[leg], *options,
        "-e", CLIENT, "-r", str(ECHO_PORT), SERVER,
    )  # fmt: skip
    assert counts.sent >= MESSAGES, output
    assert re.search(rf"Received relay addr: .*{SERVER}", output), output


async def test_an_ipv6_only_host_serves_by_every_transport(
    ipv6_only: Server, hosts: Hosts, echo: None
) -> None:
    """By `-x`, which asks for IPv6, and without, for clients that name no family."""
    await side_by_side(
        *(reaches_the_echo(hosts[1], leg, *how) for leg in LEGS for how in (["-x"], ["-x", "-s"])),
        reaches_the_echo(hosts[1], "udp"),
    )


def test_its_admin_answers_by_ipv6(ipv6_only: Server, hosts: Hosts) -> None:
    page = "http://[::1]:9641/metrics"
    fetch = f"import urllib.request as r; print(r.urlopen({page!r}, timeout=30).read().decode())"
    shown = hosts[0].run(sys.executable, "-c", fetch)
    assert re.search(rf'^turnd_relay_ports_capacity{{address="{SERVER}"}} \d+', shown, re.MULTILINE)


def test_check_is_content_with_it(ipv6_only: Server, hosts: Hosts, authority: Authority) -> None:
    for uri in (f"turn:[{SERVER}]", f"turn:[{SERVER}]?transport=tcp", f"turns:[{SERVER}]"):
        said = subprocess.run(
            [
                *hosts[1].prefix, sys.executable, "-m", "turnd", "check", uri,
                "--user", USER, "--password-stdin", "--ca", str(authority.file),
            ],
            input=PASSWORD,
            capture_output=True, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        assert said.returncode == 0, said.stdout + said.stderr
        assert SERVER in said.stdout


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(
    hosts: Hosts, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Page]:
    """A browser on the clients' host."""
    folder = tmp_path_factory.mktemp("home")
    there = folder / "chromium"
    there.write_text(f'#!/bin/sh\nexec {shlex.join(hosts[1].prefix)} {chromium()} "$@"\n')
    there.chmod(0o755)
    home = make_home(folder, authority)
    async with opened(str(there), home, PAGE.as_uri()) as tab:
        yield tab


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "case",
    [
        Case(f"turn:[{SERVER}]:3478?transport=udp", "udp"),
        Case(f"turn:[{SERVER}]:3478?transport=tcp", "tcp"),
        Case(f"turns:[{SERVER}]:5349?transport=tcp", "tls"),
    ],
    ids=lambda case: case.relay_protocol,
)
async def test_chromium_calls_by_ipv6_alone(page: Page, ipv6_only: Server, case: Case) -> None:
    """Browsers name no family: `default_family: client` gives them one that there is."""
    result: dict[str, Any] = await page.evaluate(
        "server => call(server)", case.ice_server(ipv6_only)
    )
    assert result["echo"] == "echo of hello"
    for end in (result["caller"], result["callee"]):
        assert end["relayProtocol"] == case.relay_protocol
        assert end["url"] == case.ice_server(ipv6_only)["urls"]
        assert end["address"] == f"[{SERVER}]" or end["address"] == SERVER


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    port = free_port()
    with echoing(port, "127.0.0.1", "::1"):
        yield port


async def test_clients_relay_to_peers_of_the_other_family(server: Server, echo_port: int) -> None:
    """An IPv4 leg to an IPv6 relay and the other way round, by channels and by indications."""
    across = (("127.0.0.1", "-x", "::1"), ("::1", "-X", "127.0.0.1"))
    await side_by_side(
        *(
            uclient(
                server, leg, host, family, *how, "-c", "-e", peer, "-r", str(echo_port), *BY_USER
            )
            for leg in LEGS
            for host, family, peer in across
            for how in ([], ["-s"])
        )
    )


@pytest.mark.parametrize("uri", ["turn:127.0.0.1:{}", "turn:[::1]:{}?transport=tcp"])
async def test_a_dual_allocation_reaches_peers_of_both_families(
    server: Server, echo_port: int, uri: str
) -> None:
    peers = [PeerAddress(TransportAddress(host, echo_port)) for host in ("127.0.0.1", "::1")]
    async with (
        asyncio.timeout(LIMIT),
        TurnClient(uri.format(server.port), USER, PASSWORD) as client,
    ):
        allocated = await client.allocate(additional_family=AddressFamily.IPV6)
        assert [each.host for each in allocated.relayed] == [peer.host for peer in peers]
        await client.channel_bind(peers[0])
        await client.create_permission(*peers)
        for first, second in (peers, peers[::-1]):
            await client.send(first, b"to one")
            await client.send(second, b"to the other")
            answers = {await client.receive(), await client.receive()}
            assert answers == {(first, b"to one"), (second, b"to the other")}
        assert await client.refresh(0, AddressFamily.IPV4) == 0
        await client.send(peers[1], b"still there")
        assert await client.receive() == (peers[1], b"still there")
