"""Lets clients come and go for minutes and sees that nothing of them stays in turnd.

A wave is everything at once for some seconds: traffic both ways by UDP, TCP and TLS, with channels
and with indications, allocate-and-delete cycles, and clients that vanish without a word. Then all
of it ends, and turnd is looked at when its last allocation has expired. The first
wave is not counted: modules, buffers and threads that come on first use stay for good reason.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.leftovers import Sample, complaints, heading, sample
from bench.process import running
from bench.runs import build
from bench.scenarios import ENGINES
from bench.servers import HOST, RELAY, START_LIMIT, NoAnswerError, Server, Servers, wait_for_answer

DESCRIPTORS = 4_000
ADMIN_PORT = 9741
LIFETIME = 15
"""Seconds of an allocation, which nobody refreshes: longer than a wave, with its set-up."""
WAVE = 8.0
"""Seconds of traffic."""
REST_LIMIT = LIFETIME + 15.0
SETTLE = 0.5
SOAK_CONFIG = {
    "admin": {"listen": f"{HOST}:{ADMIN_PORT}"},
    # few ports, so that what is kept of each has reached its size after a wave
    "relay": RELAY
    | {"ports": "10000-13000", "lifetime": LIFETIME, "max_lifetime": LIFETIME, "port_rest": 1},
}
LEAST_WAVES = 4
"""One that does not count, and three that can be compared."""


@dataclass(frozen=True)
class Clients:
    """One process of the load generator."""

    load: str
    is_tls: bool = False
    vanishes: bool = False
    """Killed when the others are gone, who might come upon its five-tuples otherwise: its
    UDP allocations expire, its connections break."""

    def command(self, turnload: Path, server: Server, seconds: float) -> list[str]:
        """Its command line."""
        port = server.tls_port if self.is_tls else server.port
        seconds += WAVE if self.vanishes else 0
        duration = ("--warmup", "0.2", "--duration", str(seconds), "--setup-timeout", "5")
        nice = ("nice", "-n", "19")  # it polls without pause: the server comes first
        return [*nice, str(turnload), "--server", f"{HOST}:{port}", *duration, *self.load.split()]


TRAFFIC = "--dir both --size 160,1000 --allocs 50 --rate 400"
CLIENTS = (
    Clients(TRAFFIC),
    Clients(f"{TRAFFIC} --indications"),
    Clients(f"{TRAFFIC} --burst 8 --gso --gro"),
    Clients(f"{TRAFFIC} --leg tcp"),
    Clients(f"{TRAFFIC} --leg tls", is_tls=True),
    Clients(TRAFFIC, vanishes=True),
    Clients(f"{TRAFFIC} --leg tcp", vanishes=True),
    Clients(f"{TRAFFIC} --leg tls", is_tls=True, vanishes=True),
    Clients("--mode alloc --allocs 4"),
    Clients("--mode binding --allocs 4 --rate 400"),
)


class SoakError(Exception):
    """The clients were not served."""


def main() -> int:
    """Soak, print a table over time; 0 when nothing stayed."""
    options = arguments()
    try:
        machine.raise_descriptor_limit(DESCRIPTORS)
        with tempfile.TemporaryDirectory(prefix="turnd-soak-") as name:
            folder = Path(name)
            folder.chmod(0o755)  # started as root, turnd becomes somebody else
            build(options.turnload / "turnload", folder)
            server = Servers(folder).turnd(options.engine, options.workers, SOAK_CONFIG)
            at_rest = soak(server, folder, options.minutes)
    except (machine.TooFewDescriptorsError, NoAnswerError, SoakError) as error:
        sys.exit(f"soak: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"soak: {error}")
    stayed = complaints(at_rest[1:])
    for complaint in stayed:
        print(f"soak: {complaint}", file=sys.stderr)
    return 1 if stayed else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--turnload", type=Path, required=True, help="folder of turnload/")
    parser.add_argument("--minutes", type=float, default=5, help="at least (5)")
    parser.add_argument("--engine", choices=[*ENGINES, "auto"], default="auto", help="(auto)")
    parser.add_argument("--workers", type=int, default=0, help="(0: one a CPU)")
    return parser.parse_args()


def soak(server: Server, folder: Path, minutes: float) -> list[Sample]:
    """Wave after wave; how turnd was found after each of them.

    Raises:
        NoAnswerError: turnd does not start.
        SoakError: it ended, or clients were refused or got wrong bytes.
    """
    errors = folder / "errors"
    at_rest: list[Sample] = []
    with errors.open("wb") as stderr, running(server.command, stderr) as process:
        wait_for_answer(process, server, errors)
        _wait_for_metrics()
        begin = time.monotonic()
        print(heading(), flush=True)
        _look(process, begin, "start")
        while time.monotonic() - begin < minutes * 60 or len(at_rest) < LEAST_WAVES:
            number = len(at_rest) + 1
            _wave(process, server, folder, begin)
            at_rest.append(_rest(process, begin, f"after wave {number}"))
    if said := errors.read_text(errors="replace"):
        raise SoakError(f"turnd complained:\n{said}")
    return at_rest


def _wait_for_metrics() -> None:
    """Until the admin endpoint is there: it opens after the listeners.

    Raises:
        NoAnswerError: it does not.
    """
    deadline = time.monotonic() + START_LIMIT
    while True:
        try:
            socket.create_connection((HOST, ADMIN_PORT), timeout=1).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise NoAnswerError(f"no metrics at port {ADMIN_PORT}: {error}") from error
            time.sleep(0.05)


def _wave(process: subprocess.Popen[bytes], server: Server, folder: Path, begin: float) -> None:
    """All clients at once, looked at in the middle, to their end."""
    with ExitStack() as stack:
        started = [
            (clients, stack.enter_context(_clients(clients, server, folder))) for clients in CLIENTS
        ]
        time.sleep(WAVE / 2)
        _look(process, begin, "in a wave")
        started.sort(key=lambda one: one[0].vanishes)
        for clients, client in started:
            if clients.vanishes:
                client.kill()
            said, _ = client.communicate(timeout=WAVE + 60)
            if client.returncode and not clients.vanishes:
                raise SoakError(f"clients were not served: {clients.load}:\n{said.decode()}")


def _clients(clients: Clients, server: Server, folder: Path) -> subprocess.Popen[bytes]:
    """Started; its complaints go to ours."""
    return subprocess.Popen(
        clients.command(folder / "turnload", server, WAVE), stdout=subprocess.PIPE
    )


def _rest(process: subprocess.Popen[bytes], begin: float, when: str) -> Sample:
    """Look once nothing is left, or when what is left has had its time."""
    deadline = time.monotonic() + REST_LIMIT
    while time.monotonic() < deadline and sample(process.pid, ADMIN_PORT).is_used:
        time.sleep(SETTLE)
    time.sleep(SETTLE)  # the connection of the last look is closed by then
    return _look(process, begin, when)


def _look(process: subprocess.Popen[bytes], begin: float, when: str) -> Sample:
    """A line of the table."""
    if process.poll() is not None:
        raise SoakError(f"turnd ended with status {process.returncode}")
    found = sample(process.pid, ADMIN_PORT)
    print(found.line(time.monotonic() - begin, when), flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
