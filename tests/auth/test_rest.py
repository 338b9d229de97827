from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.auth import rest
from turnd.auth.rest import RestSecrets, Secret, parse_rest_username, rest_password
from turnd.stun.keys import PasswordAlgorithm, long_term_key

MD5, SHA256 = PasswordAlgorithm.MD5, PasswordAlgorithm.SHA256
REALM = "example.org"
NOW = 1_700_000_000.0


def make(*secrets: str, separator: str = ":") -> RestSecrets:
    return RestSecrets(REALM, secrets, lambda: NOW, separator)


@pytest.mark.parametrize(
    ("username", "expires_at", "quota_user"),
    [
        ("1700000060:bob", 1_700_000_060, "bob"),
        ("1700000060:@bob:example.org", 1_700_000_060, "@bob:example.org"),  # Matrix
        ("bob:1700000060", 1_700_000_060, "bob"),
        ("1700000060", 1_700_000_060, "1700000060"),  # Jitsi
        ("1700000060:", 1_700_000_060, "1700000060:"),
        ("17:18", 17, "18"),  # both read as an expiry: the first is it
    ],
)
def test_the_four_shapes(username: str, expires_at: float, quota_user: str) -> None:
    assert parse_rest_username(username) == (expires_at, quota_user)


@pytest.mark.parametrize(
    "username", ["", "bob", ":", "bob:", ":17", "bob:17x", "-17:bob", "\u0661\u0662", "1" * 16]
)
def test_other_names_are_none_of_them(username: str) -> None:
    assert parse_rest_username(username) is None
    assert make("one").candidates(username) == ()


def test_another_separator() -> None:
    secrets = make("one", separator="|")
    assert secrets.candidates("17:bob") == ()
    assert secrets.candidates("17|bob:builder")[0].quota_user == "bob:builder"


@given(st.text(max_size=40))
def test_any_name_is_read_or_none(username: str) -> None:
    parsed = parse_rest_username(username)
    assert parsed is None or (parsed.expires_at >= 0 and parsed.quota_user in username)


def test_the_password_is_the_one_applications_make() -> None:
    # openssl: printf 1700000060:bob | openssl dgst -sha1 -hmac secret -binary | base64
    assert rest_password("secret", "1700000060:bob") == "UGwEC8fXBc7dtjc2zKZRUfPbxHs="


def test_a_secret_says_what_passwords_are_made_with() -> None:
    # openssl: printf 1700000060:bob | openssl dgst -sha256 -hmac secret -binary | base64
    sha256 = "Mra4qg3YtUU8hjyCzE5Eoa0ser0BDZbDDH2m6nyb8eE="
    assert rest_password("hmac-sha256:secret", "1700000060:bob") == sha256
    sha1 = rest_password("hmac-sha1:secret", "1700000060:bob")
    assert sha1 == rest_password("secret", "1700000060:bob")
    assert rest_password("hmac-sha1:hmac-sha256:x", "1:a") != rest_password("hmac-sha256:x", "1:a")
    found = make("secret", "hmac-sha256:secret").candidates("1700000060:bob")
    for candidate, password in zip(found, (sha1, sha256), strict=True):
        assert candidate.keys[MD5] == long_term_key("1700000060:bob", REALM, password, MD5)


def test_a_secret_that_changes_its_hash_is_another_one() -> None:
    secrets = make("secret")
    (before,) = secrets.candidates("1:a")
    secrets.use_configured_secrets(["hmac-sha256:secret"])
    (after,) = secrets.candidates("1:a")
    assert before.keys[MD5] != after.keys[MD5]


def test_a_candidate_for_each_secret_in_order() -> None:
    first, second = make("one", "tw\u00f6").candidates("1700000060:bob")
    for candidate, secret in ((first, "one"), (second, "tw\u00f6")):
        password = rest_password(secret, "1700000060:bob")
        for algorithm in (MD5, SHA256):
            key = long_term_key("1700000060:bob", REALM, password, algorithm)
            assert candidate.keys[algorithm] == key
    assert (first.user, first.quota_user, first.expires_at) == (
        "1700000060:bob",
        "bob",
        1_700_000_060.0,
    )
    assert (first.source, second.source) == ("secret 1", "secret 2")
    assert (first.shared, second.shared) == (b"one", "tw\u00f6".encode())


def test_an_expired_name_still_has_its_candidate() -> None:
    (candidate,) = make("one").candidates("1600000000:bob")
    assert candidate.expired(NOW)


def test_without_secrets_there_is_nothing() -> None:
    assert len(make()) == 0
    assert make().candidates("1700000060:bob") == ()


def test_a_retransmission_costs_no_second_derivation() -> None:
    secrets = make("one")
    assert secrets.candidates("1700000060:bob")[0] is secrets.candidates("1700000060:bob")[0]


def test_the_cache_is_bounded_and_forgets_the_longest_unused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rest, "_MAX_CACHED", 2)
    secrets = make("one")
    (a,) = secrets.candidates("1:a")
    (b,) = secrets.candidates("1:b")
    assert secrets.candidates("1:a") == (a,)
    secrets.candidates("1:c")
    assert secrets.candidates("1:a")[0] is a
    assert secrets.candidates("1:b")[0] is not b


def test_secrets_of_a_store_join_and_leave() -> None:
    secrets = make("one")
    secrets.use_store_secrets([Secret("redis secret x", b"two")])
    assert [one.source for one in secrets.candidates("1:a")] == ["secret 1", "redis secret x"]
    assert len(secrets) == 2
    secrets.use_store_secrets([])
    assert [one.source for one in secrets.candidates("1:a")] == ["secret 1"]


def test_a_replaced_secret_counts_until_its_grace_ends() -> None:
    clock = [NOW]
    secrets = RestSecrets(REALM, [], lambda: clock[0])
    secrets.use_store_secrets([Secret("old", b"old", not_after=NOW + 60), Secret("new", b"new")])
    assert [one.source for one in secrets.candidates("1:a")] == ["old", "new"]
    clock[0] = NOW + 60
    assert [one.source for one in secrets.candidates("1:a")] == ["old", "new"]
    clock[0] = NOW + 61
    assert [one.source for one in secrets.candidates("1:a")] == ["new"]


def test_the_number_of_secrets_is_bounded() -> None:
    secrets = make("one")
    secrets.use_store_secrets([Secret(str(n), b"%d" % n) for n in range(100)])
    assert len(secrets.candidates("1:a")) == rest.MAX_SECRETS


def test_no_repr_shows_a_secret() -> None:
    assert "hunter2" not in repr(Secret("secret 1", b"hunter2"))


def test_the_configuration_s_secrets_are_replaced_and_a_store_s_stay() -> None:
    secrets = make("one")
    secrets.use_store_secrets([Secret("redis secret 1", b"stored")])
    secrets.use_configured_secrets(["two", "three"])
    found = [one.source for one in secrets.candidates("1700000060:bob")]
    assert found == ["secret 1", "secret 2", "redis secret 1"]
    secrets.use_store_secrets([])
    two = rest_password("two", "1700000060:bob")
    key = long_term_key("1700000060:bob", REALM, two, MD5)
    assert secrets.candidates("1700000060:bob")[0].keys[MD5] == key
    assert len(secrets) == 2
