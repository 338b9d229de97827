from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.config.alternates import Alternate, parse_alternate


@pytest.mark.parametrize(
    ("text", "alternate"),
    [
        ("203.0.113.8", Alternate("203.0.113.8")),
        ("203.0.113.8:443", Alternate("203.0.113.8", 443)),
        ("2001:DB8::8", Alternate("2001:db8::8")),
        ("[2001:db8::8]:443", Alternate("2001:db8::8", 443)),
        ("Turn2.example.org", Alternate("turn2.example.org", 0, "turn2.example.org")),
        ("turn2.example.org:443", Alternate("turn2.example.org", 443, "turn2.example.org")),
        ("turn2.example.org=203.0.113.8", Alternate("203.0.113.8", 0, "turn2.example.org")),
        ("b.example=[2001:db8::8]:443", Alternate("2001:db8::8", 443, "b.example")),
        ("b.example=host-2.internal", Alternate("host-2.internal", 0, "b.example")),
    ],
)
def test_a_server_with_what_is_known_of_it(text: str, alternate: Alternate) -> None:
    assert parse_alternate(text) == alternate
    assert str(alternate) == text.lower()
    assert alternate.is_named == (alternate.host.endswith(("org", "internal")))


def test_spaces_may_stand_around_the_sign() -> None:
    assert parse_alternate("b.example = 203.0.113.8") == parse_alternate("b.example=203.0.113.8")


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "::", "[::]:443", "203.0.113.8:0", "b.example:0", "b.example:65536", "", "=",
        "b.example=", "=203.0.113.8", "203.0.113.8=b.example", "b_.example", "b.example:x",
        "b.example=0.0.0.0", "10.0.0", "-b.example", "b..example",
    ],
)  # fmt: skip
def test_nobody_is_sent_nowhere(text: str) -> None:
    with pytest.raises(ValueError, match=r"every address|no port|no IP address|no host name"):
        parse_alternate(text)


@given(st.text() | st.text("abdeinostu:=.1[]0-"))
def test_any_text_is_an_entry_or_a_value_error(text: str) -> None:
    try:
        entry = parse_alternate(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - both outcomes are fine, silence is not
    else:
        assert parse_alternate(str(entry)) == entry
