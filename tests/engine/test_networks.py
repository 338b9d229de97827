from __future__ import annotations

import pytest

from turnd.engine.networks import network_of


@pytest.mark.parametrize(
    ("host", "same", "other"),
    [
        ("203.0.113.5", "203.0.113.250", "203.0.114.5"),
        ("2001:db8:1:200::1", "2001:db8:1:2ff:9::9", "2001:db8:1:300::1"),
        ("fe80::1", "fe80::1%lo", "fe80:0:0:100::1"),
    ],
)
def test_who_shares_a_network(host: str, same: str, other: str) -> None:
    assert network_of(host) == network_of(same) != network_of(other)


def test_families_are_told_apart() -> None:
    assert network_of("32.1.13.184") != network_of("2001:db8::")
