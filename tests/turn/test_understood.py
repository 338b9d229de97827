from __future__ import annotations

import pytest

from tests.turn.harness import World, code_of
from tests.turn.tokens import token_client, token_world
from turnd.stun import attributes as a
from turnd.turn.understood import UNDERSTOOD, UNDERSTOOD_WITH_TOKENS


def test_all_are_in_the_registry_and_comprehension_required() -> None:
    for number in UNDERSTOOD_WITH_TOKENS:
        assert a.ATTRIBUTES[number].comprehension_required


@pytest.mark.parametrize(
    "attribute",
    [
        a.CHANGE_REQUEST,
        a.PADDING,
        a.RESPONSE_PORT,
        a.PRIORITY,
        a.USE_CANDIDATE,
        a.ACCESS_TOKEN,
    ],
)
def test_what_the_server_does_not_act_on_is_420(attribute: a.Attribute[object]) -> None:
    client = World().client()
    answer = client.allocate((a.raw(attribute.number), b""))
    assert code_of(answer) == 420
    assert answer.get(a.UNKNOWN_ATTRIBUTES) == (attribute.number,)


def test_where_tokens_let_in_they_are_understood() -> None:
    assert {a.ACCESS_TOKEN.number} == UNDERSTOOD_WITH_TOKENS - UNDERSTOOD
    assert code_of(token_client(token_world()).allocate()) is None


@pytest.mark.parametrize("attribute", [a.DONT_FRAGMENT, a.XOR_RELAYED_ADDRESS, a.DATA])
def test_what_it_knows_is_none_of_the_unknown(attribute: a.Attribute[object]) -> None:
    client = World().client()
    assert code_of(client.allocate((a.raw(attribute.number), b""))) is None


def test_each_unknown_is_listed_once_in_order_and_optional_ones_not_at_all() -> None:
    client = World().client()
    unknown = [(a.raw(number), b"x") for number in (0x7FFF, 0x0003, 0x7FFF, 0x8000 + 0x3333)]
    assert client.allocate(*unknown).get(a.UNKNOWN_ATTRIBUTES) == (0x7FFF, 0x0003)


def test_authentication_comes_first() -> None:
    client = World().client()
    client.password = "guess"
    assert code_of(client.allocate((a.raw(0x7FFF), b""))) == 401
