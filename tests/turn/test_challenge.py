from __future__ import annotations

import pytest

from tests.tokens import SERVER_NAME
from tests.turn.harness import BOTH_ALGORITHMS, REALM, SECRET, World
from tests.turn.tokens import token_client, token_world
from turnd.auth.nonce import mac_length_for
from turnd.stun import attributes as a
from turnd.stun.message import Method, decode_untrusted
from turnd.stun.nonce_cookie import SecurityFeature, features_of
from turnd.turn.challenge import challenge_of

TRANSPORT = (a.REQUESTED_TRANSPORT, 17)


@pytest.mark.parametrize("secrets", [[], [SECRET]])
def test_an_engine_is_told_what_a_first_request_gets(secrets: list[str]) -> None:
    world = World(secrets=secrets)
    answer = world.client().challenge()
    told = challenge_of(world.realm)
    assert told.realm == REALM.encode()
    assert a.PASSWORD_ALGORITHMS.decode(told.password_algorithms, bytes(12)) == BOTH_ALGORITHMS
    assert str(answer.get(a.NONCE)).startswith(told.cookie.decode())
    assert bool(told.flags & 0x80) is (not secrets)  # anonymity
    assert told.third_party_authorization == b""


def test_third_parties_are_told_of_with_401_and_438() -> None:
    world = token_world()
    client = world.stream_client()
    first = client.challenge()
    client.nonce = "stale"
    for answer in (first, client.allocate()):
        assert answer.get(a.THIRD_PARTY_AUTHORIZATION) == SERVER_NAME
        assert answer.get(a.PASSWORD_ALGORITHMS) == BOTH_ALGORITHMS
    assert challenge_of(world.realm).third_party_authorization == SERVER_NAME.encode()


def test_where_tokens_alone_let_in_no_password_algorithm_is_offered() -> None:
    world = token_world(users={})
    answer = world.stream_client().challenge()
    assert answer.get(a.THIRD_PARTY_AUTHORIZATION) == SERVER_NAME
    assert not answer.has(a.PASSWORD_ALGORITHMS)
    assert features_of(str(answer.get(a.NONCE))) == SecurityFeature(0)
    told = challenge_of(world.realm)
    assert (told.password_algorithms, told.flags) == (b"", 0)
    client = token_client(world)
    client.allocated()


def test_by_udp_it_is_left_out_of_what_would_be_more_than_twice_the_request() -> None:
    world = token_world()
    client = world.client()
    small = client.plain(Method.ALLOCATE, (TRANSPORT,))
    (answer,) = client.send(small)
    assert 28 + len(answer) <= 2 * (28 + len(small))
    assert not decode_untrusted(answer).has(a.THIRD_PARTY_AUTHORIZATION)
    longer = client.plain(Method.ALLOCATE, (TRANSPORT, (a.SOFTWARE, "a client")))
    (answer,) = client.send(longer)
    assert 28 + len(answer) <= 2 * (28 + len(longer))
    assert decode_untrusted(answer).get(a.THIRD_PARTY_AUTHORIZATION) == SERVER_NAME


def test_without_passwords_the_smallest_request_is_told_of_it() -> None:
    world = token_world(users={}, realm="turnd")
    world.server.nonces = type(world.server.nonces)(
        3600, world.random_bytes, mac_length_for("turnd", SERVER_NAME, passwords=False)
    )
    client = world.client()
    small = client.plain(Method.ALLOCATE, (TRANSPORT,))
    (answer,) = client.send(small)
    assert 28 + len(answer) <= 2 * (28 + len(small))
    assert decode_untrusted(answer).get(a.THIRD_PARTY_AUTHORIZATION) == SERVER_NAME
