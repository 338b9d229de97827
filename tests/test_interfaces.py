from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import ifaddr

from turnd.interfaces import interface_addresses

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

IF_INET6 = """\
20010db8000000000000000000000001 02 40 00 00     eth0
20010db8000000000000000000000002 02 40 00 01     eth0
20010db8000000000000000000000003 02 40 00 20     eth0
20010db8000000000000000000000004 02 40 00 c0     eth0
20010db8000000000000000000000005 02 40 00 08     eth0
fe800000000000000000000000000001 02 40 20 80     eth0
"""


def test_loopback() -> None:
    assert "127.0.0.1" in interface_addresses("lo")
    assert interface_addresses("no-such") == []


def test_what_may_go_any_hour_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hosts = [("192.0.2.5", 24)] + [((f"2001:db8::{n}", 0, 0), 64) for n in range(1, 6)]
    hosts += [(("fe80::1%eth0", 0, 2), 64), ("169.254.7.7", 16)]
    ips = [SimpleNamespace(ip=ip, network_prefix=length) for ip, length in hosts]
    adapters = [
        SimpleNamespace(name="eth0", ips=ips),
        SimpleNamespace(name="eth1", ips=[SimpleNamespace(ip="192.0.2.6")]),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    flags = tmp_path / "if_inet6"
    flags.write_text(IF_INET6)
    assert interface_addresses("eth0", flags) == ["192.0.2.5", "2001:db8::1"]
    assert interface_addresses("eth1", flags) == ["192.0.2.6"]
    every = interface_addresses("eth0", tmp_path / "none")
    assert every == ["192.0.2.5", *(f"2001:db8::{n}" for n in range(1, 6))]
