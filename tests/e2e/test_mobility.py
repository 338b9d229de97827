"""Clients that change their address and transport while media flows (RFC 8016).

The client's host has two ways to the server, a wireless LAN and a mobile network, and prefers the
first while it is there. All hosts are network namespaces that end with the test.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.namespaces import Namespace, join, new_namespace
from tests.e2e.roaming import Diary, Journey, Step
from tests.e2e.server import PASSWORD, USER, Server, Surroundings, serve
from tests.e2e.test_turnutils import counts_of, echoing, run
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.certificates import Authority

SERVER = "203.0.113.7"
SERVER6, MOBILE6 = "2001:db8:7::7", "2001:db8:2::2"
WLAN, MOBILE, PEER = "10.1.0.2", "10.2.0.2", "10.3.0.2"
ECHO = 9999
LIMIT = 120.0

UDP = f"turn:{SERVER}:3478"
TCP = f"turn:{SERVER}:3478?transport=tcp"
TLS = f"turns:{SERVER}:5349"
UDP6, TLS6 = f"turn:[{SERVER6}]:3478", f"turns:[{SERVER6}]:5349"
ON_WLAN = ("dev", "wlan", "root")
SLOWLY = ("tbf", "rate", "20kbit", "burst", "1600b", "latency", "9s")
WLAN_BREAKS = ("ip", "link", "set", "dev", "wlan", "down")


@dataclass
class Hosts:
    server: Namespace
    client: Namespace
    peer: Namespace


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with (
        new_namespace() as server,
        new_namespace(beside=server) as client,
        new_namespace(beside=server) as peer,
    ):
        server.run("ip", "address", "add", f"{SERVER}/32", "dev", "lo")
        join(server, ["10.1.0.1/24"], client, [f"{WLAN}/24"], names=("wlan", "wlan"))
        server.run("ip", "address", "add", f"{SERVER6}/128", "dev", "lo")
        ours, theirs = ["10.2.0.1/24", "2001:db8:2::1/64"], [f"{MOBILE}/24", f"{MOBILE6}/64"]
        join(server, ours, client, theirs, names=("mobile", "mobile"))
        client.run("ip", "route", "add", SERVER6, "via", "2001:db8:2::1")
        join(server, ["10.3.0.1/24"], peer, [f"{PEER}/24"], names=("peers", "cable"))
        peer.run("ip", "route", "add", "default", "via", "10.3.0.1")
        # Who is bound to an address goes by its network, also while the other is preferred.
        for table, source in (("1", WLAN), ("2", MOBILE)):
            client.run("ip", "rule", "add", "from", source, "table", table)
        yield Hosts(server, client, peer)


@pytest.fixture(autouse=True)
def _networks_are_up(hosts: Hosts) -> None:
    """A link that breaks takes its routes along."""
    hosts.client.run("ip", "link", "set", "dev", "wlan", "up")
    for table, name, router in (("1", "wlan", "10.1.0.1"), ("2", "mobile", "10.2.0.1")):
        route = ("default", "via", router, "dev", name)
        hosts.client.run("ip", "route", "replace", *route, "table", table)
        hosts.client.run("ip", "route", "replace", *route, "metric", table)


@pytest.fixture(scope="module")
def server(hosts: Hosts, folders: Path, authority: Authority) -> Iterator[Server]:
    pair = authority.issue("localhost")
    surroundings = Surroundings(prefix=hosts.server.server_prefix, is_remote=True)
    with serve(
        Path(tempfile.mkdtemp(dir=folders)),
        pair.section(),
        surroundings,
        listen=[
            *("udp://0.0.0.0:3478", "udp://[::]:3478", "tcp://0.0.0.0:3478"),
            *(f"tls://{SERVER}:5349", f"tls://[{SERVER6}]:5349"),
        ],
        relay={"addresses": [SERVER]},
        peers={"allow": ["10.0.0.0/8"]},
        mobility=True,
        workers=2,
    ) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def _echo(hosts: Hosts) -> Iterator[None]:
    with echoing(ECHO, PEER, prefix=hosts.peer.prefix):
        yield


async def travel(hosts: Hosts, start: str, *steps: Step, local: str | None = None) -> Diary:
    """Runs `roaming` on the client's host."""
    journey = Journey(start, USER, PASSWORD, (PEER, ECHO), list(steps), local)
    process = await asyncio.create_subprocess_exec(
        *(*hosts.client.prefix, sys.executable, "-m", "tests.e2e.roaming"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT):
            told, wrong = await process.communicate(json.dumps(asdict(journey)).encode())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, wrong.decode()[-3000:]
    return Diary(**json.loads(told))


def hosts_of(diary: Diary) -> list[str]:
    return [address.rpartition(":")[0].strip("[]") for address in diary.from_]


class Count:
    """What was logged since it was made."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.before = {event: len(server.logged(event)) for event in self.EVENTS}

    EVENTS = ("allocation_created", "allocation_moved", "auth_failed", "request_refused")

    def check(self, *moves: tuple[str, str]) -> None:
        """One allocation was made, and moved so; nothing else was worth a line."""
        new = {event: self.server.logged(event)[n:] for event, n in self.before.items()}
        seen = [(each["former_transport"], each["transport"]) for each in new["allocation_moved"]]
        assert seen == list(moves)
        assert len(new["allocation_created"]) == 1
        assert not new["auth_failed"]
        assert not new["request_refused"]


@pytest.mark.parametrize(
    ("start", "to", "transports"),
    [
        pytest.param(UDP, UDP, ("udp", "udp"), id="UDP to UDP"),
        pytest.param(UDP, TCP, ("udp", "tcp"), id="UDP to TCP"),
        pytest.param(TCP, UDP, ("tcp", "udp"), id="TCP to UDP"),
        pytest.param(TLS, TLS, ("tls", "tls"), id="TLS to TLS"),
    ],
)
async def test_nothing_is_lost_while_both_networks_are_there(
    hosts: Hosts, server: Server, start: str, to: str, transports: tuple[str, str]
) -> None:
    count = Count(server)
    back = transports[::-1]
    diary = await travel(hosts, start, Step(to, MOBILE), Step(start, WLAN), local=WLAN)
    assert hosts_of(diary) == [WLAN, MOBILE, WLAN]
    assert (diary.lost, diary.twice) == ([], [])
    count.check(transports, back)


@pytest.mark.parametrize(
    ("start", "to"),
    [pytest.param(UDP, UDP, id="UDP to UDP"), pytest.param(TCP, TLS, id="TCP to TLS")],
)
async def test_what_the_slower_network_still_carries_arrives(
    hosts: Hosts, server: Server, start: str, to: str
) -> None:
    """Packets queue up on the wireless LAN, and those by the mobile network overtake them."""
    hosts.client.run("tc", "qdisc", "replace", *ON_WLAN, *SLOWLY)
    try:
        diary = await travel(hosts, start, Step(to, MOBILE), local=WLAN)
    finally:
        hosts.client.run("tc", "qdisc", "delete", *ON_WLAN)
    assert hosts_of(diary) == [WLAN, MOBILE]
    assert (diary.lost, diary.twice) == ([], [])


@pytest.mark.parametrize("to", [UDP6, TLS6])
async def test_a_mobile_network_may_have_ipv6_alone(hosts: Hosts, server: Server, to: str) -> None:
    """The relayed address stays what it is, of IPv4."""
    count = Count(server)
    diary = await travel(hosts, UDP, Step(to), Step(UDP, WLAN), local=WLAN)
    assert hosts_of(diary) == [WLAN, MOBILE6, WLAN]
    assert (diary.lost, diary.twice) == ([], [])
    transport = "udp" if to == UDP6 else "tls"
    count.check(("udp", transport), (transport, "udp"))


@pytest.mark.parametrize(
    ("start", "to", "transports"),
    [
        pytest.param(UDP, UDP, ("udp", "udp"), id="UDP to UDP"),
        pytest.param(UDP, TLS, ("udp", "tls"), id="UDP to TLS"),
        pytest.param(TCP, UDP, ("tcp", "udp"), id="TCP to UDP"),
        pytest.param(TLS, TLS, ("tls", "tls"), id="TLS to TLS"),
    ],
)
async def test_media_goes_on_when_the_wireless_lan_breaks(
    hosts: Hosts, server: Server, start: str, to: str, transports: tuple[str, str]
) -> None:
    count = Count(server)
    step = Step(to, first=WLAN_BREAKS, is_smooth=False)
    diary = await travel(hosts, start, step)
    assert hosts_of(diary) == [WLAN, MOBILE]
    assert (diary.lost, diary.twice) == ([], [])
    count.check(transports)


@pytest.mark.parametrize(
    ("start", "to", "transports"),
    [
        pytest.param(TCP, UDP, ("tcp", "udp"), id="TCP to UDP"),
        pytest.param(TLS, TLS, ("tls", "tls"), id="TLS to TLS"),
    ],
)
async def test_an_allocation_waits_for_who_hung_up(
    hosts: Hosts, server: Server, start: str, to: str, transports: tuple[str, str]
) -> None:
    count = Count(server)
    diary = await travel(hosts, start, Step(to, is_smooth=False, hangs_up=True))
    assert hosts_of(diary) == [WLAN, WLAN]
    assert (diary.lost, diary.twice) == ([], [])
    count.check(transports)


@pytest.mark.parametrize("options", [(), ("-t",)], ids=["UDP", "TCP"])
async def test_coturns_client(hosts: Hosts, server: Server, options: tuple[str, ...]) -> None:
    """`-M`: it goes on from another socket after each Allocate, by its ticket.

    Not by TLS or DTLS, where now and then it closes what it has just connected, and not by
    channels: it would be started many times, and leaves allocations at ports that it may meet.
    """
    moved = len(server.logged("allocation_moved"))
    status, output = await run(
        *(*hosts.client.prefix, "turnutils_uclient", "-M", "-s", "-v", "-c", "-n", "5", "-z", "5"),
        *("-p", "3478", "-u", USER, "-w", PASSWORD, "-e", PEER, "-r", str(ECHO)),
        *(*options, SERVER),
    )
    assert status == 0, output
    counts = counts_of(output)
    assert counts.sent == counts.received >= 5, output
    await eventually(lambda: len(server.logged("allocation_moved")) > moved)
    refused = [each for each in server.logged("request_refused") if each["method"] == "refresh"]
    assert refused == []
