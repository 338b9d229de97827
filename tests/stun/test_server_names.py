from __future__ import annotations

import pytest

from turnd.stun.server_names import fitting_names


@pytest.mark.parametrize(
    ("server_name", "pattern"),
    [
        ("turn.example.org", "*.example.org"),
        ("a.turn.example.org", "*.turn.example.org"),
        ("localhost", "*."),
        ("", "*."),
    ],
)
def test_the_name_itself_goes_before_the_pattern(server_name: str, pattern: str) -> None:
    assert fitting_names(server_name) == (server_name, pattern)
