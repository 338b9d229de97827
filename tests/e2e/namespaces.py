"""Hosts of their own: network namespaces that vanish with the process that holds them."""

from __future__ import annotations

import os
import select
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def join(one: Namespace, its: str, other: Namespace, others: str) -> None:
    """A cable between two hosts, with an address (`10.0.0.5/24`) at each end."""
    ends = ("name", "cable", "netns", str(one.pid)), ("name", "cable", "netns", str(other.pid))
    one.run("ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1])
    for host, address in ((one, its), (other, others)):
        host.run("ip", "address", "add", address, "dev", "cable", "nodad")
        host.run("ip", "link", "set", "cable", "up")
