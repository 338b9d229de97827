"""A client, the server, a router and a peer in namespaces of their own, with both IP versions.

    client ── server ── router ── peer
    10.1.0.0/24   10.2.0.0/24   10.3.0.0/24, and fd01::/64 to fd03::/64

The link to the peer takes packets of 1,300 bytes and no more, all others of 1,500.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.namespaces import LIMIT, Namespace, join, new_namespace
from tests.e2e.server import Surroundings, serve, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.e2e.server import Server

CLIENT = {4: "10.1.0.2", 6: "fd01::2"}
SERVER = {4: "10.1.0.1", 6: "fd01::1"}
RELAY = {4: "10.2.0.1", 6: "fd02::1"}
PEER = {4: "10.3.0.2", 6: "fd03::2"}
"""Hosts by IP version; the server's towards its clients and towards peers."""

NARROW = 1300
_THE_END = b"nothing comes after this"


@dataclass(frozen=True)
class Hosts:
    """Who is there. The cable towards the server is called `server` at the client and router."""

    client: Namespace
    server: Namespace
    router: Namespace
    peer: Namespace


@contextmanager
def routed_hosts() -> Iterator[Hosts]:
    """All four of them, joined; they vanish with the context."""
    with (
        new_namespace() as server,
        new_namespace(beside=server) as client,
        new_namespace(beside=server) as router,
        new_namespace(beside=server) as peer,
    ):
        _join(1, client, "server", server, "client")
        _join(2, router, "server", server, "router")
        _join(3, peer, "router", router, "peer")
        for host, name in ((router, "peer"), (peer, "router")):
            host.run("ip", "link", "set", "dev", name, "mtu", str(NARROW))
        for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            _set(router, setting, 1)
        for host in (router, peer):
            for setting in ("ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"):
                _set(host, setting, 0)
        for host, link in ((client, 1), (peer, 3)):
            host.run("ip", "route", "add", "default", "via", f"10.{link}.0.1")
            host.run("ip", "-6", "route", "add", "default", "via", f"fd0{link}::1")
        server.run("ip", "route", "add", "10.3.0.0/24", "via", "10.2.0.2")
        server.run("ip", "-6", "route", "add", "fd03::/64", "via", "fd02::2")
        yield Hosts(client, server, router, peer)


def _set(host: Namespace, setting: str, value: int) -> None:
    host.run("sh", "-c", f"echo {value} > /proc/sys/net/{setting}")


def _join(link: int, far: Namespace, its: str, near: Namespace, others: str) -> None:
    """The near end of a link has its first addresses."""
    join(
        near,
        (f"10.{link}.0.1/24", f"fd0{link}::1/64"),
        far,
        (f"10.{link}.0.2/24", f"fd0{link}::2/64"),
        names=(others, its),
    )


def served(hosts: Hosts, folder: Path, ipv4: str) -> AbstractContextManager[Server]:
    """The server at an IPv4 address and at its own of IPv6; it relays to the peer."""
    return serve(
        folder,
        surroundings=Surroundings(prefix=hosts.server.server_prefix, is_remote=True),
        listen=[f"{t}://{h}:3478" for t in ("udp", "tcp") for h in (ipv4, f"[{SERVER[6]}]")],
        relay={"addresses": [RELAY[4], RELAY[6]]},
        peers={"allow": [f"{PEER[4]}/32", f"{PEER[6]}/128"]},
    )


@dataclass(frozen=True)
class Capture:
    """What passes an interface, in a file."""

    file: Path

    def packets(self, only: str, *fields: str) -> list[tuple[str, ...]]:
        """The values of fields (tshark's names) of all packets that its filter `only` takes."""
        options = [option for field in fields for option in ("-e", field)]
        command = ["tshark", "-r", str(self.file), "-Y", only, "-T", "fields", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


@contextmanager
def captured(host: Namespace, interface: str, towards: str, file: Path) -> Iterator[Capture]:
    """Capture until the context ends; the file is whole only then. `towards` is at the far end."""
    said = file.with_suffix(".said")
    with said.open("wb") as errors:
        options = ("--immediate-mode", "-U", "-Z", "root", "-i", interface, "-w", str(file))
        process = subprocess.Popen([*host.prefix, "tcpdump", *options], stderr=errors)
    try:
        wait_until(lambda: b"listening on" in said.read_bytes(), f"a capture at {interface}")
        yield Capture(file)
        with host.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(_THE_END, (towards, 9))
        wait_until(lambda: _THE_END in file.read_bytes(), "all is captured")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT)
