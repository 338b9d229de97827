from __future__ import annotations

import pytest

from turnd.client.sockaddr import shown_address


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (("192.0.2.1", 9), "192.0.2.1:9"),
        (("2001:DB8:0::1", 9, 0, 0), "[2001:db8::1]:9"),
        (("fe80::1%eth0", 9, 0, 2), "[fe80::1]:9"),
    ],
)
def test_what_sockets_give_is_shown_canonically(raw: tuple[object, ...], shown: str) -> None:
    assert str(shown_address(raw)) == shown
