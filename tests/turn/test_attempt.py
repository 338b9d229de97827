from __future__ import annotations

from typing import Any

import pytest

from tests.turn.harness import REALM, Client, World
from turnd.stun import attributes as a
from turnd.stun.message import Method, decode_untrusted
from turnd.turn.attempt import Attempt
from turnd.turn.events import AuthenticationFailed, FailureReason


def attempt_of(client: Client, *nonce: Any, told: list[Any] | None = None) -> Attempt:
    """Of a client that sends this nonce: raw bytes, or nothing."""
    credentials = client.credentials(without=[a.NONCE])
    pairs = [(a.raw(a.NONCE.number), each) for each in nonce]
    data = client.signed(Method.REFRESH, credentials=[*credentials, *pairs])
    world = client.world
    report = (told if told is not None else []).append
    server, message = world.server, decode_untrusted(data)
    return Attempt(
        message, client.leg, world.realm, world.now, server.nonces, b"", report, None, world.wall
    )


def nonce_of(client: Client) -> bytes:
    client.challenge()
    assert client.nonce is not None
    return client.nonce.encode()


def test_a_nonce_of_ours_tells_what_was_offered() -> None:
    client = World().client()
    nonce = nonce_of(client)
    attempt = attempt_of(client, nonce)
    assert attempt.check_nonce() == client.world.realm.credentials.offers
    assert (attempt.nonce, attempt.nonce_is_valid) == (nonce.decode(), True)


def test_one_whose_time_is_over_tells_it_too_and_is_not_valid() -> None:
    client = World(nonce_lifetime=60).client()
    nonce = nonce_of(client)
    client.world.pass_time(60)
    attempt = attempt_of(client, nonce)
    assert attempt.check_nonce() == client.world.realm.credentials.offers
    assert not attempt.nonce_is_valid


@pytest.mark.parametrize("nonce", [(), (b"\xff\xfe",), (b"n" * 764,), (b"forged",)])
def test_any_other_is_not_valid_and_tells_nothing(nonce: tuple[bytes, ...]) -> None:
    attempt = attempt_of(World().client(), *nonce)
    assert attempt.check_nonce() is None
    assert not attempt.nonce_is_valid


def test_a_challenge_is_of_the_realm_and_its_nonce_of_the_client() -> None:
    client = World().client()
    challenge = dict(attempt_of(client).challenge())
    assert challenge[a.REALM] == REALM
    attempt = attempt_of(client, challenge[a.NONCE].encode())
    attempt.check_nonce()
    assert attempt.nonce_is_valid


def test_a_failure_is_told_of_whose_nonce_shows_the_address() -> None:
    client, told = World().client(), list[Any]()
    stranger = attempt_of(client, b"forged", told=told)
    known = attempt_of(client, nonce_of(client), told=told)
    for attempt in (stranger, known):
        attempt.check_nonce()
        attempt.failed("alice", FailureReason.BAD_INTEGRITY)
    assert told == [AuthenticationFailed(client.leg, "alice", REALM, FailureReason.BAD_INTEGRITY)]
