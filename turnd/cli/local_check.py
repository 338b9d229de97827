"""What `turnd check --local` looks at: this machine, as a server on it would find it."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from turnd.cli.local_addresses import check_addresses
from turnd.cli.settings import path_of
from turnd.client import advice
from turnd.client.certificate import SOON
from turnd.client.report import Status, Step
from turnd.config.loader import find_config_file, load
from turnd.config.model import Config
from turnd.config.problems import ConfigError
from turnd.engine.choose import MEND, EngineOptions, choose_engine
from turnd.engine.installed import EngineUnavailableError
from turnd.listeners.certificates import CertificateError, CertificateInfo, Certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from turnd.config.values import PortRange

SPARE = 1000
"""Descriptors beside those of relays: listeners, streams, Redis, files."""
DAY = 86400


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the facts come from.

    Attributes:
        proc: the root of /proc.
        environ: variables that belong to the configuration.
        descriptors: how many files may be open at most.
        wall_clock: unix seconds.
        addresses: what clients are given here.
    """

    proc: Path = Path("/proc")
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    descriptors: Callable[[], int] = lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wall_clock: Callable[[], float] = time.time
    addresses: Callable[[Config], Step] = check_addresses

    def sysctl(self, name: str) -> str | None:
        """A kernel parameter's text; None where the kernel does not show it (containers)."""
        try:
            return (self.proc / "sys" / name.replace(".", "/")).read_text().strip()
        except OSError:
            return None


def check_machine(config_file: str | None, machine: Machine | None = None) -> list[Step]:
    """Every step; those after a broken config look at the built-in defaults."""
    machine = machine or Machine()
    first, config = _config(config_file, machine)
    return [
        first,
        _engine(config),
        _buffer("receive_buffer", "net.core.rmem_max", config.sockets.receive_buffer, machine),
        _buffer("send_buffer", "net.core.wmem_max", config.sockets.send_buffer, machine),
        _ports(config.relay.ports, machine),
        _descriptors(config.relay.ports, machine),
        machine.addresses(config),
        *_certificates(config, machine),
    ]


def _config(config_file: str | None, machine: Machine) -> tuple[Step, Config]:
    path = find_config_file(path_of(config_file))
    name = "built-in defaults" if path is None else str(path)
    try:
        return Step("config", Status.OK, f"{name}, no errors"), load(path, machine.environ)
    except ConfigError as error:
        count = len(error.problems)
        text = f"{error.problems[0]}" + (f" (and {count - 1} more)" if count > 1 else "")
        fix = f"turnd validate {name} tells every error; the steps below look at the defaults."
        return Step("config", Status.FAILED, text, fix), Config()


def _engine(config: Config) -> Step:
    try:
        engine, reason = choose_engine(EngineOptions(config.engine))
    except EngineUnavailableError as error:
        return Step("engine", Status.FAILED, str(error), "Or set engine: auto in the config.")
    engine.stop()
    text = f"{engine.name}: {reason}"
    values = {"engine": engine.name, **engine.details}
    if config.engine == "auto" and engine.name == "portable":
        return Step("engine", Status.WARNING, text, f"The native engine is faster: {MEND}.", values)
    return Step("engine", Status.OK, text, values=values)


def _buffer(name: str, parameter: str, wanted: int, machine: Machine) -> Step:
    text = machine.sysctl(parameter)
    if text is None or not text.isdigit():
        return Step(name, Status.SKIPPED, f"{parameter} is not to be seen here")
    most = int(text)
    values = {"wanted": wanted, parameter: most}
    if most < wanted:
        shown = f"{parameter} {most} is less than the {wanted} bytes that are wanted"
        fix = f"sysctl -w {parameter}={wanted} (lasting: in /etc/sysctl.d/)"
        return Step(name, Status.WARNING, shown, fix, values)
    return Step(name, Status.OK, f"{parameter} {most}", values=values)


def _ports(ports: PortRange, machine: Machine) -> Step:
    used = machine.sysctl("net.ipv4.ip_local_port_range")
    if used is None:
        return Step("ports", Status.SKIPPED, "net.ipv4.ip_local_port_range is not to be seen here")
    low, high = (int(word) for word in used.split())
    reserved = _reserved(machine.sysctl("net.ipv4.ip_local_reserved_ports") or "")
    shared = sum(
        1 for port in range(max(low, ports.low), min(high, ports.high) + 1) if port not in reserved
    )
    values = {"relay_ports": str(ports), "shared": shared}
    if not shared:
        return Step("ports", Status.OK, f"{ports} are for relays alone", values=values)
    text = f"other programs may be given {shared} of the relay ports {ports} ({low}-{high})"
    fix = f"sysctl -w net.ipv4.ip_local_reserved_ports={ports} (lasting: in /etc/sysctl.d/)"
    return Step("ports", Status.WARNING, text, fix, values)


def _reserved(text: str) -> set[int]:
    """`8080,9148-9150` (proc(5))."""
    ports: set[int] = set()
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        ports.update(range(int(low), int(high or low) + 1))
    return ports


def _descriptors(ports: PortRange, machine: Machine) -> Step:
    most = machine.descriptors()
    wanted = ports.high - ports.low + 1 + SPARE
    values = {"limit": most, "wanted": wanted}
    if most == resource.RLIM_INFINITY or most >= wanted:
        return Step("descriptors", Status.OK, f"{most} open files at most", values=values)
    text = f"{most} open files at most, but {ports} are {wanted - SPARE} relay ports"
    fix = f"Raise LimitNOFILE= in the unit, or ulimit -n, to {wanted} or more."
    return Step("descriptors", Status.WARNING, text, fix, values)


def _certificates(config: Config, machine: Machine) -> list[Step]:
    if not config.tls:
        return [Step("certificate", Status.SKIPPED, "none is configured: no TLS")]
    return [
        _certificate(str(pair.certificate), str(pair.key), machine.wall_clock)
        for pair in config.tls
    ]


def _certificate(certificate: str, key: str, wall_clock: Callable[[], float]) -> Step:
    try:
        served = Certificates([(certificate, key)], wall_clock).served()[0]
    except CertificateError as error:
        fix = "Mend or replace the pair; the server reads it again when its files change."
        return Step("certificate", Status.FAILED, str(error), fix)
    return _days(served, wall_clock())


def _days(served: CertificateInfo, now: float) -> Step:
    days = int((served.not_after - now) // DAY)
    text = f"{served.path}: {days} days left, for {', '.join(served.names)}"
    values = {"path": served.path, "days_left": days, "names": list(served.names)}
    if days < SOON:
        return Step("certificate", Status.WARNING, text, advice.EXPIRES_SOON, values)
    return Step("certificate", Status.OK, text, values=values)
