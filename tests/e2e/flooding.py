"""Floods of one UDP endpoint, by a process of its own that counts what it sends.

    python -m tests.e2e.flooding KIND PORT COUNTER

It sends about twice what the server can take: so much that the server's socket drops one half. It
ends by itself after `LONGEST` seconds, should nobody end it.
"""

from __future__ import annotations

import itertools
import mmap
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.bare import ask, request, signed_allocate
from tests.e2e.server import REALM
from tests.waiting import eventually
from turnd.stun import attributes as a
from turnd.stun.message import Message, MessageClass, Method, decode_untrusted, encode_message

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("junk", "allocates", "spoofed", "forged_nonces", "good_nonces")
LONGEST = 120.0
"""Seconds; far more than any test needs."""
BURST = 32
ADJUST_EVERY = 64
"""Bursts between two looks at what was dropped."""
LONGEST_PAUSE = 0.002
"""Seconds between two bursts; it is a flood even of a server that can take next to nothing."""


class Flood:
    """A flood that is under way, as its test sees it."""

    def __init__(self, process: subprocess.Popen[bytes], counter: mmap.mmap) -> None:
        self._process = process
        self._counter = counter

    @property
    def sent(self) -> int:
        """Datagrams so far."""
        return int(struct.unpack_from("<Q", self._counter)[0])

    async def goes_on(self) -> None:
        """Wait until it has sent a thousand more."""
        before = self.sent

        def more() -> bool:
            assert self._process.poll() is None, "the flood has ended"
            return self.sent > before + 1_000

        await eventually(more)


@contextmanager
def flooding(kind: str, port: int, folder: Path) -> Iterator[Flood]:
    """A flood of a kind, as long as the context lasts."""
    file = folder / f"sent-{kind}"
    file.write_bytes(bytes(8))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 8) as counter:
        command = [sys.executable, "-m", "tests.e2e.flooding", kind, str(port), str(file)]
        process = subprocess.Popen(command)
        try:
            yield Flood(process, counter)
        finally:
            process.kill()
            process.wait()


def dropped_at(port: int) -> int:
    """Datagrams that the UDP sockets of a port had no room for."""
    rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if row[1].endswith(f":{port:04X}"))


def _sources(kind: str) -> list[socket.socket]:
    """Sockets of one network, or, like the invented sources of a spoofer, one of each of many."""
    hosts = [f"127.0.9.{number}" for number in range(1, 101)]
    if kind == "spoofed":
        hosts = [f"127.{1 + number // 250}.{number % 250}.7" for number in range(800)]
    sources = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in hosts]
    for source, host in zip(sources, hosts, strict=True):
        source.bind((host, 0))
    return sources


def _message(kind: str, source: socket.socket, server: tuple[str, int]) -> bytes:
    """What a source sends, again and again."""
    if kind == "junk":
        return b"\xff" + random.randbytes(160)
    if kind in ("allocates", "spoofed"):
        return request(Method.ALLOCATE)
    challenge = (
        _forged() if kind == "forged_nonces" else ask(source, request(Method.ALLOCATE), server)
    )
    return signed_allocate(challenge, password="a guess")


def _forged() -> Message:
    """A challenge that the server never sent."""
    parts = [(a.REALM, REALM), (a.NONCE, "obMatJos2AAAA" + random.randbytes(12).hex())]
    return decode_untrusted(
        encode_message(Method.ALLOCATE, MessageClass.ERROR, os.urandom(12), parts)
    )


def _flood(kind: str, port: int, counter: mmap.mmap) -> None:
    server, end = ("127.0.0.1", port), time.monotonic() + LONGEST
    sources = _sources(kind)
    asking = sources[:16] if kind == "good_nonces" else sources  # a nonce is its asker's alone
    messages = [(source, _message(kind, source, server)) for source in asking]
    sent, pause, looked_at, dropped = 0, 0.0, 0, dropped_at(port)
    for source, message in itertools.cycle(messages):
        for _ in range(BURST):
            # Another transaction each time.
            source.sendto(message[:8] + random.randbytes(12) + message[20:], server)
        sent += BURST
        struct.pack_into("<Q", counter, 0, sent)
        if pause > 0:
            select.select([], [], [], pause)
        if sent - looked_at >= ADJUST_EVERY * BURST:
            now_dropped = dropped_at(port)
            is_twice_as_much = 2 * (now_dropped - dropped) > sent - looked_at
            pause = min(LONGEST_PAUSE, pause * 1.5 + 1e-5) if is_twice_as_much else pause / 2
            looked_at, dropped = sent, now_dropped
            if time.monotonic() > end:
                return


if __name__ == "__main__":
    with Path(sys.argv[3]).open("r+b") as opened, mmap.mmap(opened.fileno(), 8) as counted:
        _flood(sys.argv[1], int(sys.argv[2]), counted)
