"""Hosts of their own: network namespaces that vanish with the process that holds them."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIMIT = 60.0


@dataclass(frozen=True)
class Namespace:
    """A network of its own; `pid` holds it."""

    pid: int

    @property
    def prefix(self) -> tuple[str, ...]:
        """Makes a command run inside; it is executed in place, so that its process id is kept."""
        user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        return ("nsenter", "--target", str(self.pid), *user, "--net", "--")

    @property
    def server_prefix(self) -> tuple[str, ...]:
        """For a server that gives root up: in a user namespace there is nobody to become."""
        if os.geteuid() == 0:
            return self.prefix
        return (*self.prefix, "unshare", "--user", "--map-user=1000", "--map-group=1000", "--")

    def open_socket(
        self, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
    ) -> socket.socket:
        """A socket that lives inside, whoever uses it."""
        ours, theirs = socket.socketpair()
        code = (
            "import socket as s, sys; "
            "new = s.socket(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])); "
            "s.send_fds(s.socket(fileno=0), [b'.'], [new.fileno()])"
        )
        with ours, theirs:
            numbers = map(str, map(int, (family, kind, protocol)))
            command = [*self.prefix, sys.executable, "-c", code, *numbers]
            subprocess.run(command, stdin=theirs.fileno(), timeout=LIMIT, check=True)
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=descriptors[0])

    def run(self, *command: str) -> str:
        """Run a command inside; its output. CalledProcessError when it fails."""
        done = subprocess.run(
            [*self.prefix, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
        return done.stdout


@contextmanager
def new_namespace(beside: Namespace | None = None) -> Iterator[Namespace]:
    """A namespace whose only interface is loopback, up.

    Without root a user namespace comes with the first one; those `beside` it share it.
    """
    as_user = () if os.geteuid() == 0 or beside else ("--user", "--map-root-user")
    command = (*(beside.prefix if beside else ()), "unshare", *as_user, "--net", "--")
    holder = subprocess.Popen(
        [*command, "sh", "-c", "echo held; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert select.select([holder.stdout], [], [], LIMIT)[0]
        said = holder.stdout.readline()
        assert said == b"held\n", said
        namespace = Namespace(holder.pid)
        namespace.run("ip", "link", "set", "lo", "up")
        yield namespace
    finally:
        holder.stdin.close()
        holder.wait(LIMIT)
        holder.stdout.close()


def join(
    one: Namespace,
    its: Sequence[str],
    other: Namespace,
    others: Sequence[str],
    names: tuple[str, str] = ("cable", "cable"),
) -> None:
    """A cable between two hosts, with addresses (`10.0.0.5/24`) and a name at each end."""
    ends = [
        ("name", name, "netns", str(host.pid))
        for name, host in zip(names, (one, other), strict=True)
    ]
    one.run("ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1])
    for host, addresses, name in ((one, its, names[0]), (other, others, names[1])):
        for address in addresses:
            host.run("ip", "address", "add", address, "dev", name, "nodad")
        host.run("ip", "link", "set", "dev", name, "up")
