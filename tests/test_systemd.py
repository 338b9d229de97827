"""The units of `systemd/`, checked by systemd's own tools (the package `systemd`)."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.waiting import LIMIT

UNITS = Path(__file__).parents[1] / "systemd"


def run(*command: str, **environment: str) -> str:
    """What a tool says, both channels; it must succeed."""
    assert shutil.which(command[0]), f"{command[0]} is missing: apt-get install systemd"
    done = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units in a folder of their own, with a program where the unit wants one."""
    program = tmp_path / "turnd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in UNITS.glob("turnd.s*"):
        text = unit.read_text().replace("/opt/turnd/bin/turnd", str(program))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def test_the_units_verify_clean(units: Path) -> None:
    service, listening = str(units / "turnd.service"), str(units / "turnd.socket")
    said = run("systemd-analyze", "verify", "--man=no", service, listening)
    ours = [line for line in said.splitlines() if "turnd" in line]
    assert ours == []


def test_a_misspelt_unit_would_not(units: Path) -> None:
    service = units / "turnd.service"
    service.write_text(service.read_text().replace("NoNewPrivileges", "NoNewPriviledges"))
    said = run("systemd-analyze", "verify", "--man=no", str(service))
    assert "NoNewPriviledges" in said


def test_the_service_exposes_little(units: Path) -> None:
    said = run("systemd-analyze", "security", "--offline=true", str(units / "turnd.service"))
    found = re.search(r"exposure level for turnd.service: ([\d.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= 2.0


def test_the_user_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    said = run("systemd-sysusers", f"--root={tmp_path}", str(UNITS / "turnd.sysusers.conf"))
    assert "turnd" in (tmp_path / "etc/passwd").read_text(), said


def test_the_folders_can_be_made(tmp_path: Path) -> None:
    me = os.getuid(), os.getgid()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        f"root:x:0:0::/:/bin/sh\nturnd:x:{me[0]}:{me[1]}::/:/bin/sh\n"
    )
    (tmp_path / "etc/group").write_text(f"root:x:0:\nturnd:x:{me[1]}:\n")
    conf = tmp_path / "turnd.conf"
    conf.write_text((UNITS / "turnd.tmpfiles.conf").read_text().replace(" root ", " turnd "))
    run("systemd-tmpfiles", f"--root={tmp_path}", "--create", str(conf))
    assert (tmp_path / "etc/turnd").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "var/lib/turnd").stat().st_mode & 0o777 == 0o700


def test_what_the_server_relies_on_stands_in_the_unit() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep case
    unit.read(UNITS / "turnd.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert float(service["WatchdogSec"]) > 0
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"]
    assert service["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    assert service["StateDirectory"] == service["RuntimeDirectory"] == "turnd"
    assert int(service["LimitNOFILE"]) == 1 << 20
    assert int(service["TimeoutStopSec"]) > 5
    assert service["RestartPreventExitStatus"] == "78"
    assert service["LimitMEMLOCK"] == "infinity", "or io_uring is for a few workers alone"
    # The last of the filter's lines, which takes back what the line before it forbade.
    assert service["SystemCallFilter"].split() == ["@aio", "sched_setaffinity"]
