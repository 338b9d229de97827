from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.listeners.pems import make_pair
from turnd.cli.local_check import Machine, check_machine
from turnd.client.report import Status, Step
from turnd.engine import choose
from turnd.engine.installed import EngineUnavailableError

Write = Callable[..., Path]


def missing() -> None:
    raise EngineUnavailableError("none is installed")


class Native:
    """A native engine as if there were one."""

    name = "native"

    def __init__(self, *_: object) -> None:
        self.details = {"io": "epoll"}

    def stop(self) -> None:
        """Nothing was opened."""


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "require_native", lambda: None)
    monkeypatch.setitem(sys.modules, "turnd.engine.native", SimpleNamespace(NativeEngine=Native))


SYSCTLS = {
    "net/core/rmem_max": "4194304",
    "net/core/wmem_max": "8388608",
    "net/ipv4/ip_local_port_range": "32768\t49151",
    "net/ipv4/ip_local_reserved_ports": "",
}


@pytest.fixture
def steps(elsewhere: Path) -> Callable[..., dict[str, Step]]:
    """Looks at a made-up machine: a good one, with `changes` to its kernel parameters."""

    def look(
        config: Path | None = None, machine: dict[str, Any] | None = None, **changes: str | None
    ) -> dict[str, Step]:
        for name, value in {**SYSCTLS, **changes}.items():
            path = elsewhere / "proc/sys" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if value is not None:
                path.write_text(f"{value}\n")
        facts: dict[str, Any] = {"descriptors": lambda: 1 << 20, "environ": {}}
        made = Machine(proc=elsewhere / "proc", **facts | (machine or {}))
        found = check_machine(None if config is None else str(config), made)
        return {step.name: step for step in found}

    return look


Look = Callable[..., dict[str, Step]]


def test_a_good_machine(steps: Look) -> None:
    found = steps()

    assert {step.status for step in found.values()} == {Status.OK, Status.SKIPPED}
    assert found["config"].text == "built-in defaults, no errors"
    assert found["engine"].values == {"engine": "native", "io": "epoll"}
    assert found["engine"].text == "native: it is installed"
    assert found["certificate"].status is Status.SKIPPED


def test_a_config_file(steps: Look, config: Write) -> None:
    path = config()

    assert steps()["config"].text == "config.yaml, no errors"
    assert steps(path)["config"].text == f"{path}, no errors"


def test_a_broken_config_and_the_rest_nevertheless(steps: Look, config: Write) -> None:
    found = steps(config(reallm="x", workers=-1))

    assert found["config"].status is Status.FAILED
    assert "and 1 more" in found["config"].text
    assert "turnd validate" in found["config"].fix
    assert found["receive_buffer"].status is Status.OK


class TestEngine:
    def test_the_portable_one_because_it_is_wanted(self, steps: Look, config: Write) -> None:
        step = steps(config(engine="portable"))["engine"]

        assert (step.status, step.text) == (Status.OK, "portable: as configured")

    def test_the_portable_one_for_want_of_another(
        self, steps: Look, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(choose, "require_native", missing)
        step = steps()["engine"]

        assert (step.status, step.text) == (Status.WARNING, "portable: none is installed")
        assert "make install" in step.fix

    def test_one_that_is_not_installed(
        self, steps: Look, config: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(choose, "require_native", missing)
        step = steps(config(engine="native"))["engine"]

        assert step.status is Status.FAILED
        assert "make install" in step.text
        assert "engine: auto" in step.fix


class TestBuffers:
    def test_too_small(self, steps: Look) -> None:
        step = steps(**{"net/core/rmem_max": "212992"})["receive_buffer"]

        assert step.status is Status.WARNING
        assert step.fix.startswith("sysctl -w net.core.rmem_max=4194304")
        assert step.values == {"wanted": 4194304, "net.core.rmem_max": 212992}

    def test_the_config_may_want_less(self, steps: Look, config: Write) -> None:
        path = config(sockets={"receive_buffer": 65536})

        step = steps(path, **{"net/core/rmem_max": "212992"})["receive_buffer"]

        assert step.status is Status.OK

    def test_not_to_be_seen(self, steps: Look) -> None:
        step = steps(**{"net/core/wmem_max": None})["send_buffer"]

        assert step.status is Status.SKIPPED


class TestPorts:
    def test_shared_with_other_programs(self, steps: Look) -> None:
        step = steps(**{"net/ipv4/ip_local_port_range": "32768 60999"})["ports"]

        assert step.status is Status.WARNING
        assert step.values["shared"] == 60999 - 49152 + 1
        assert "ip_local_reserved_ports=49152-65535" in step.fix

    @pytest.mark.parametrize(
        ("reserved", "shared"),
        [("49152-65535", 0), ("8080,49152-60998", 1), ("49152,60999", 11846)],
    )
    def test_reserved_ports_are_not_shared(self, steps: Look, reserved: str, shared: int) -> None:
        step = steps(
            **{
                "net/ipv4/ip_local_port_range": "32768 60999",
                "net/ipv4/ip_local_reserved_ports": reserved,
            }
        )["ports"]

        assert step.values["shared"] == shared
        assert step.status is (Status.WARNING if shared else Status.OK)

    def test_other_relay_ports(self, steps: Look, config: Write) -> None:
        path = config(relay={"ports": "10000-20000"})

        assert steps(path)["ports"].status is Status.OK

    def test_not_to_be_seen(self, steps: Look) -> None:
        assert steps(**{"net/ipv4/ip_local_port_range": None})["ports"].status is Status.SKIPPED


class TestDescriptors:
    @pytest.mark.parametrize(
        ("limit", "status"),
        [
            (1024, Status.WARNING),
            (16384 + 999, Status.WARNING),
            (16384 + 1000, Status.OK),
            (resource.RLIM_INFINITY, Status.OK),
        ],
    )
    def test_as_many_as_relay_ports_and_some(self, steps: Look, limit: int, status: Status) -> None:
        step = steps(machine={"descriptors": lambda: limit})["descriptors"]

        assert step.status is status
        assert bool(step.fix) is (status is Status.WARNING)


class TestCertificates:
    def look(self, steps: Look, config: Write, pair: tuple[str, str], days: float = 0) -> Step:
        path = config(tls={"certificate": pair[0], "key": pair[1]})
        clock = {"wall_clock": lambda: time.time() + days * 86400}
        return steps(path, clock)["certificate"]

    def test_a_good_pair(self, steps: Look, config: Write, tmp_path: Path) -> None:
        step = self.look(steps, config, make_pair(tmp_path, "turn.example.org"))

        assert step.status is Status.OK
        assert step.values["days_left"] in {89, 90}
        assert "turn.example.org" in step.text

    def test_one_that_ends_soon(self, steps: Look, config: Write, tmp_path: Path) -> None:
        step = self.look(steps, config, make_pair(tmp_path, "turn.example.org"), days=80)

        assert step.status is Status.WARNING
        assert "Renew" in step.fix

    def test_one_that_has_ended(self, steps: Look, config: Write, tmp_path: Path) -> None:
        step = self.look(steps, config, make_pair(tmp_path, "turn.example.org"), days=100)

        assert step.status is Status.FAILED

    def test_a_pair_that_does_not_match(self, steps: Look, config: Write, tmp_path: Path) -> None:
        one, other = make_pair(tmp_path, "a"), make_pair(tmp_path, "b", stem="other")

        step = self.look(steps, config, (one[0], other[1]))

        assert step.status is Status.FAILED
        assert step.fix

    def test_every_pair_is_a_step(self, config: Write, tmp_path: Path) -> None:
        pairs = [make_pair(tmp_path, name, stem=name) for name in ("a", "b")]
        path = config(tls=[{"certificate": c, "key": k} for c, k in pairs])

        names = [step.name for step in check_machine(str(path), Machine(environ={}))]

        assert names.count("certificate") == 2


def test_the_environment_counts(steps: Look) -> None:
    found = steps(machine={"environ": {"TURND_REALLM": "x"}})

    assert found["config"].status is Status.FAILED
