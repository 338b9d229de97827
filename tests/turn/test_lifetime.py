from __future__ import annotations

import pytest

from turnd.stun import attributes as a
from turnd.stun.errors import DecodeError
from turnd.stun.message import Message, MessageClass, Method, decode_untrusted, encode_message
from turnd.turn.lifetime import desired_lifetime
from turnd.turn.settings import TurnSettings

SETTINGS = TurnSettings(default_lifetime=600, max_lifetime=3600)


def refresh(*attributes: tuple[a.Attribute[int] | a.Attribute[bytes], object]) -> Message:
    return decode_untrusted(
        encode_message(Method.REFRESH, MessageClass.REQUEST, bytes(12), attributes)
    )


def test_the_default_where_none_is_asked_for() -> None:
    assert desired_lifetime(refresh(), SETTINGS) == 600


@pytest.mark.parametrize(
    ("asked", "granted"),
    [(0, 600), (1, 600), (600, 600), (601, 601), (3600, 3600), (3601, 3600), (0xFFFFFFFF, 3600)],
)
def test_never_less_than_the_default_nor_more_than_the_maximum(asked: int, granted: int) -> None:
    assert desired_lifetime(refresh((a.LIFETIME, asked)), SETTINGS) == granted


def test_a_maximum_below_the_default_leaves_the_default() -> None:
    settings = TurnSettings(default_lifetime=600, max_lifetime=60)
    assert desired_lifetime(refresh((a.LIFETIME, 900)), settings) == 600


@pytest.mark.parametrize(("asked", "granted"), [(0, 45.5), (3600, 45.5)])
def test_never_more_than_the_credential_allows(asked: int, granted: float) -> None:
    assert desired_lifetime(refresh((a.LIFETIME, asked)), SETTINGS, 45.5) == granted
    assert desired_lifetime(refresh((a.LIFETIME, asked)), SETTINGS, 9999) == max(asked, 600)


def test_a_malformed_lifetime_is_no_lifetime() -> None:
    with pytest.raises(DecodeError):
        desired_lifetime(refresh((a.raw(a.LIFETIME.number), b"\x01")), SETTINGS)
