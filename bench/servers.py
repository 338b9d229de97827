"""The servers under test, configured alike: ports, credentials, certificate and command of each.

All listen on loopback. The floor's ports are its own and fixed; the others leave them alone, and
the relayed addresses stay below the ports that the kernel hands out.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.process import running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HOST = "127.0.0.1"
REALM, USER, PASSWORD = "bench.local", "user", "pass"
RELAY_PORTS = (10000, 32000)
RELAY = {"addresses": [HOST], "ports": "-".join(map(str, RELAY_PORTS))}
"""Of turnd's config."""
FLOOR_PORT = 3478
COTURN_PORTS = (8478, 8349)
"""UDP and TCP, then TLS."""
TURND_PORTS = (9478, 9349)
BINDING_REQUEST = bytes.fromhex("000100002112a442") + bytes(12)
BINDING_SUCCESS = b"\x01\x01"
START_LIMIT = 20.0
EX_CONFIG = 78


class NoAnswerError(Exception):
    """A server ended, or did not answer in time."""


@dataclass(frozen=True)
class Server:
    """A program to measure."""

    name: str
    command: tuple[str, ...]
    port: int
    """UDP and TCP."""
    tls_port: int | None = None
    """TLS, or DTLS."""
    turnload: str = ""
    """Arguments of turnload that this server alone needs."""


class Servers:
    """Makes servers that keep their files in a folder that goes away after the run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._certificate, self._key = folder / "certificate.pem", folder / "key.pem"
        _make_certificate(self._certificate, self._key)
        self._state = folder / "state"
        self._state.mkdir()
        self._state.chmod(0o777)  # started as root, turnd becomes somebody else
        os.environ.update(STATE_DIRECTORY=str(self._state), RUNTIME_DIRECTORY=str(self._state))

    def coturn(self, *, dtls: bool = False) -> Server:
        """With one relay thread and a user database of its own."""
        port, tls_port = COTURN_PORTS
        first, last = RELAY_PORTS
        command = (
            *("turnserver", f"--listening-ip={HOST}", f"--relay-ip={HOST}", "--lt-cred-mech"),
            *(f"--listening-port={port}", f"--tls-listening-port={tls_port}"),
            *(f"--cert={self._certificate}", f"--pkey={self._key}"),
            *(f"--realm={REALM}", f"--user={USER}:{PASSWORD}", "--allow-loopback-peers"),
            *(f"--min-port={first}", f"--max-port={last}", "--relay-threads=1", "--no-cli"),
            *("--log-file=/dev/null", f"--userdb={self._folder / 'coturn.db'}"),
            f"--pidfile={self._folder / 'coturn.pid'}",
            *(() if dtls else ("--no-dtls",)),
        )
        return Server("coturn", command, port, tls_port)

    def turnd(
        self, engine: str, workers: int = 1, changes: Mapping[str, Any] | None = None
    ) -> Server:
        """Alike, with no cap on unauthenticated answers; `changes` are other keys of the config."""
        port, tls_port = TURND_PORTS
        config: dict[str, Any] = {
            "realm": REALM,
            "listen": [f"udp://{HOST}:{port}", f"tcp://{HOST}:{port}", f"tls://{HOST}:{tls_port}"],
            "tls": {"certificate": str(self._certificate), "key": str(self._key)},
            "relay": RELAY,
            "auth": {"users": {USER: PASSWORD}},
            "peers": {"allow": ["127.0.0.0/8"]},
            "limits": {"unauthenticated_per_second": 0},
            "admin": {"listen": None},
            "engine": engine,
            "workers": workers,
            "log": {"format": "json", "level": "warning"},
        } | dict(changes or {})
        file = self._folder / f"turnd-{engine}-{workers}.yaml"
        file.write_text(json.dumps(config))
        return Server(turnd_name(engine), turnd_command(file), port, tls_port)

    def turnd_with_dtls(self, engine: str) -> Server:
        """The same with DTLS in the place of TLS."""
        port, tls_port = TURND_PORTS
        return self.turnd(
            engine, changes={"listen": [f"udp://{HOST}:{port}", f"dtls://{HOST}:{tls_port}"]}
        )

    def floor(self, variant: str, allocations: int) -> Server:
        """A relay without TURN logic: the limit."""
        command = (str(self._folder / "floor"), variant, str(allocations))
        return Server(floor_name(variant), command, FLOOR_PORT, turnload="--raw")

    def is_installed(self, engine: str) -> bool:
        """Whether turnd starts with this engine; it calls a missing one a mistake in the file.

        Raises:
            NoAnswerError: it fails for another reason.
        """
        try:
            self.seconds_to_answer(self.turnd(engine))
        except _EndedError as error:
            if error.status == EX_CONFIG and engine == "native":
                return False
            raise
        return True

    def seconds_to_answer(self, server: Server) -> float:
        """From the start of the process, on CPU 0, to its first Binding response; then it is ended.

        Raises:
            NoAnswerError: there is none.
        """
        errors = self._folder / "errors"
        begin = time.monotonic()
        with errors.open("wb") as stderr, running(on_cpus("0", server.command), stderr) as process:
            wait_for_answer(process, server, errors)
            return time.monotonic() - begin


class _EndedError(NoAnswerError):
    """The process ended instead of answering."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def turnd_name(engine: str) -> str:
    """As the runs are labelled."""
    return f"turnd-{engine}"


def floor_name(variant: str) -> str:
    """As the runs are labelled."""
    return f"floor-{variant}"


def turnd_command(config: Path) -> tuple[str, ...]:
    """Of this repository's turnd."""
    return (sys.executable, "-m", "turnd", "serve", "--config", str(config))


def on_cpus(cpus: str, command: Sequence[str]) -> list[str]:
    """The command, kept on these CPUs (a list as taskset takes it)."""
    return ["taskset", "-c", cpus, *command]


def wait_for_answer(process: subprocess.Popen[bytes], server: Server, errors: Path) -> None:
    """Until a Binding request is answered.

    Raises:
        NoAnswerError: the process has ended, or START_LIMIT has passed.
    """
    deadline = time.monotonic() + START_LIMIT
    while not _is_answering(server.port):
        said = f"{shlex.join(server.command)}:\n{errors.read_text(errors='replace')}"
        if (status := process.poll()) is not None:
            raise _EndedError(f"status {status} of {said}", status)
        if time.monotonic() > deadline:
            raise NoAnswerError(f"no answer of {said}")


def _is_answering(port: int) -> bool:
    """Whether a Binding request is answered; one that nobody waits for is refused at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.25)
        probe.connect((HOST, port))
        try:
            probe.send(BINDING_REQUEST)
            return probe.recv(2048).startswith(BINDING_SUCCESS)
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            time.sleep(0.002)
            return False


def _make_certificate(certificate: Path, key: Path) -> None:
    """Self-signed, on the curve that most public certificates use today."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={REALM}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o644)  # turnd reads it again after it has given up root; the key is for this run
