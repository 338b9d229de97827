"""`turnd serve` as an admin runs it: a process of its own, a config file, a log.

Every server here ends by its own process id, has its ports to itself and fails its test when its
log holds a traceback. Nothing waits without a limit, and nothing waits for time alone: `wait_until`
ends with its condition.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TURND = Path(sys.executable).with_name("turnd")
REALM = "turn.test"
USER, PASSWORD = "alice", "s3cret"
SECRET = "north-by-northwest"
SECRET_SHA256 = "hmac-sha256:south-by-southeast"
LIMIT = 60.0
"""Seconds; far more than a start or an end takes, because the machine may be busy."""


def rest_credentials(user: str, secret: str = SECRET, ttl: int = 600) -> tuple[str, str]:
    """Username and password as a TURN REST API hands them out."""
    username = f"{int(time.time()) + ttl}:{user}"
    digest = hmac.digest(secret.encode(), username.encode(), "sha1")
    return username, base64.b64encode(digest).decode()


def wait_until(condition: Callable[[], bool], what: str, limit: float = LIMIT) -> None:
    """Look every 20 ms whether `condition` holds; AssertionError after `limit` seconds."""
    looks = int(limit / 0.02)
    for _ in range(looks):
        if condition():
            return
        select.select([], [], [], 0.02)
    raise AssertionError(f"not within {limit} s: {what}")


_handed_out: set[int] = set()
"""Ports that were chosen already, and are perhaps not bound yet."""


def free_port() -> int:
    """A port that neither UDP nor TCP uses on loopback, below the ephemeral range.

    None is given twice by one process.
    """
    for _ in range(200):
        port = random.SystemRandom().randrange(11_000, 32_000)
        if port in _handed_out:
            continue
        if all(_is_free(host, kind, port) for host in _HOSTS for kind in _KINDS):
            _handed_out.add(port)
            return port
    raise AssertionError("no free port found")


_HOSTS = ("127.0.0.1", "::1")
_KINDS = (socket.SOCK_DGRAM, socket.SOCK_STREAM)


def _is_free(host: str, kind: socket.SocketKind, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


_engines = ["portable"]


@contextmanager
def served_by(engine: str) -> Iterator[None]:
    """Servers that start within relay by that engine."""
    _engines.append(engine)
    try:
        yield
    finally:
        _engines.pop()


def base_config(port: int, tls_port: int, admin_port: int) -> dict[str, Any]:
    """Loopback on both families by UDP, TCP and (with a certificate) TLS; relays to loopback."""
    return {
        "realm": REALM,
        "listen": [f"{t}://{h}:{port}" for t in ("udp", "tcp") for h in ("127.0.0.1", "[::1]")],
        "relay": {"addresses": ["127.0.0.1", "::1"]},
        "auth": {"users": {USER: PASSWORD}, "secrets": [SECRET, SECRET_SHA256]},
        "peers": {"allow": ["127.0.0.0/8", "::1/128"]},
        "admin": {"listen": f"127.0.0.1:{admin_port}"},
        "log": {"format": "json", "level": "info"},
        "engine": _engines[-1],
        "shutdown": {"timeout": 1},
    }


@dataclass
class Server:
    """A running server and what a test needs to know of it."""

    port: int
    tls_port: int
    admin_port: int
    config_file: Path
    log_file: Path
    config: dict[str, Any]
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The process that relays (the command itself, no wrapper around it)."""
        return self.process.pid

    @property
    def log(self) -> str:
        """All that the server has written to stdout and stderr."""
        return self.log_file.read_text(errors="replace")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The JSON records of one event."""
        return [r for r in self.records() if r.get("event") == event]

    def records(self) -> list[dict[str, Any]]:
        """Every JSON record of the log; what is not JSON (the banner) is left out.

        The last line may be half written.
        """
        whole = self.log.rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def rewrite(self, **changes: Any) -> None:
        """Change top-level keys in the config file; the server reads it again on SIGHUP."""
        self.config.update(changes)
        self.config_file.write_text(json.dumps(self.config, indent=1))

    def reload(self) -> None:
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def get(self, path: str, limit: float = 30.0) -> tuple[int, str]:
        """Status and body of an admin page; status 0 when nobody answers."""
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=limit) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, sample: str) -> float:
        """The value of one sample, spelled with its labels; 0 when it is not there."""
        status, page = self.get("/metrics")
        assert status == 200, f"no metrics: {status}"
        found = re.search(rf"^{re.escape(sample)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def memory_kib(self) -> int:
        """Resident set size."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert found, "the server is gone"
        return int(found[1])

    def cpu_seconds(self) -> float:
        """CPU time used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """Open file descriptors."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def wait_ready(self, *, by_log: bool = False) -> None:
        """Until /readyz says 200; AssertionError with the log when the server ended instead."""

        def ready() -> bool:
            if self.process.poll() is not None:
                taken = "Address already in use" in self.log
                raise (PortTakenError if taken else AssertionError)(f"ended at once:\n{self.log}")
            return bool(self.logged("started")) if by_log else self.get("/readyz")[0] == 200

        wait_until(ready, "the server is ready", LIMIT)

    def end(self) -> None:
        """SIGTERM, and once more for one that still drains; SIGKILL is a failure."""
        for _ in range(2):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(30)
                except subprocess.TimeoutExpired:
                    continue
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end by SIGTERM:\n{self.log[-3000:]}")

    def check_log(self) -> None:
        """No traceback, and no complaint of asyncio about a task or callback that broke."""
        bad = re.search("Traceback|never retrieved|Exception in callback|never awaited", self.log)
        assert bad is None, self.log[max(0, bad.start() - 500) : bad.start() + 4000]


@dataclass(frozen=True)
class Surroundings:
    """What a server is started in, where that is not a plain process on loopback."""

    prefix: tuple[str, ...] = ()
    """A command that executes the server in its place, such as `prlimit` or `ip netns exec`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    stdout: int | None = None
    """A descriptor for stdout and stderr in place of the log file."""
    is_remote: bool = False
    """The admin listener is in a network of its own: the log tells when it is ready."""


class PortTakenError(AssertionError):
    """Between choosing a port and binding it, another test was faster."""


@contextmanager
def serve(
    folder: Path,
    tls: Mapping[str, str] | None = None,
    surroundings: Surroundings | None = None,
    **changes: Any,
) -> Iterator[Server]:
    """Run `turnd serve` with `base_config`, top-level keys replaced by `changes`.

    `tls`: the `tls:` section; adds TLS endpoints. A `listen` among the changes may speak of
    `{port}` and `{tls_port}`.
    """
    around = surroundings or Surroundings()
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)  # started as root, the server becomes somebody else
    server = _start_until_ports_are_free(folder, tls, around, changes)
    try:
        yield server
    finally:
        server.end()
    server.check_log()


def _start_until_ports_are_free(
    folder: Path, tls: Mapping[str, str] | None, around: Surroundings, changes: Mapping[str, Any]
) -> Server:
    for _ in range(5):
        server = _start(folder, tls, around, changes)
        try:
            server.wait_ready(by_log=around.is_remote)
        except PortTakenError:
            continue
        except BaseException:
            server.end()
            raise
        return server
    raise AssertionError("no start with ports that stayed free")


def _start(
    folder: Path, tls: Mapping[str, str] | None, around: Surroundings, changes: Mapping[str, Any]
) -> Server:
    port, tls_port, admin_port = free_port(), free_port(), free_port()
    config = base_config(port, tls_port, admin_port)
    if tls:
        config["tls"] = dict(tls)
        hosts = ("127.0.0.1", "[::1]")
        config["listen"] += [
            f"{by}://{host}:{tls_port}" for by in ("tls", "dtls") for host in hosts
        ]
    config.update(changes)
    ports = {"port": port, "tls_port": tls_port}
    config["listen"] = [endpoint.format_map(ports) for endpoint in config["listen"]]
    config_file, log_file = folder / "config.yaml", folder / "log"
    config_file.write_text(json.dumps(config, indent=1))  # JSON is YAML
    directories = dict.fromkeys(("STATE_DIRECTORY", "RUNTIME_DIRECTORY"), str(folder))
    with log_file.open("wb") as log:
        output = log.fileno() if around.stdout is None else around.stdout
        process = subprocess.Popen(
            [*around.prefix, str(TURND), "serve", "--config", str(config_file)],
            cwd=folder,
            env={**os.environ, **directories, **around.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return Server(port, tls_port, admin_port, config_file, log_file, config, process)
