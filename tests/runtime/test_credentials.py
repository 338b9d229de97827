"""From the configuration to the sources of credentials."""

from __future__ import annotations

import time

import pytest

from turnd.auth.access_token import TokenAlgorithm, TokenKey
from turnd.auth.credentials import Found, UsernameQuery
from turnd.auth.oauth import ThirdParty
from turnd.auth.rest import rest_password
from turnd.auth.store_cache import StoreHooks
from turnd.config import Config, load_text
from turnd.runtime import credentials

HOOKS = StoreHooks(lambda *_: None)


def config(text: str) -> Config:
    return load_text(text, "test", {})


def never() -> str:
    raise AssertionError("nobody needs it")


def test_without_any_source_the_server_s_own_secret_counts() -> None:
    loaded = config("").all_realms()[0]
    made = credentials.build(loaded, lambda: "own", HOOKS)
    name = "4000000000:x"
    found = made.chain.lookup(UsernameQuery(name), 0.0)
    assert isinstance(found, Found)
    assert made.secrets == ("own",)
    assert rest_password("own", name)
    assert made.store is None
    assert not credentials.needs_own_secret(config("auth: {users: {a: b}}").auth)


def test_users_and_secrets_side_by_side() -> None:
    realm = config("auth: {users: {alice: a}, secrets: [one, two]}").all_realms()[0]
    made = credentials.build(realm, never, HOOKS)
    assert isinstance(made.chain.lookup(UsernameQuery("alice"), 0.0), Found)
    found = made.chain.lookup(UsernameQuery("4000000000:x"), 0.0)
    assert isinstance(found, Found)
    assert [each.source for each in found.candidates] == ["secret 1", "secret 2"]


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        ("secrets: [s]", True),
        ("users: {a: b}", True),
        ("strict_expiry: true", True),
        ("redis_cache: 1", False),
        ("redis_schema: coturn", False),
        ("separator: '-'", False),
    ],
)
def test_a_store_stays_while_redis_is_the_same(change: str, stays: bool) -> None:
    before = credentials.build(config("auth: {redis: redis://h}").all_realms()[0], never, HOOKS)
    after = credentials.build(
        config("auth: {redis: redis://h, " + change + "}").all_realms()[0],
        never,
        HOOKS,
        before,
    )
    assert (after.store is before.store) is stays
    assert (after.rest is before.rest) is stays


def test_redis_by_tls_with_an_authority_of_its_own() -> None:
    realm = config("auth: {redis: rediss://h, redis_tls_ca: /ca.pem}").all_realms()[0]
    made = credentials.build(realm, never, HOOKS)
    assert made.store is not None
    assert made.store._link._address.options["ssl_ca_certs"] == "/ca.pem"


def test_nonces_fit_the_longest_realm() -> None:
    short = credentials.nonces(config("realm: ab"))
    long = credentials.nonces(config("realm: a-rather-long-name.example.org"))
    assert short.mac_length > long.mac_length


KEY = "{key: MTIzNDU2Nzg5MDEyMzQ1Ng==, algorithm: A128GCM, timestamp: 5, lifetime: 9}"
KEYS = f"keys: {{north: {KEY}}}"


def test_third_parties_know_the_server_by_its_realm_or_another_name() -> None:
    (realm,) = config(f"auth: {{oauth: {{{KEYS}}}}}").all_realms()
    made = credentials.third_party(realm)
    assert made is not None
    assert made.server_name == "turnd"
    assert made.keys == {"north": TokenKey(TokenAlgorithm.A128GCM, b"1234567890123456", 14)}
    (realm,) = config(f"auth: {{oauth: {{server_name: turn.test, {KEYS}}}}}").all_realms()
    assert credentials.third_party(realm) == ThirdParty("turn.test", made.keys, time.time)
    assert not credentials.needs_own_secret(realm.auth)
    (realm,) = config("realm: x").all_realms()
    assert credentials.third_party(realm) is None


def test_nonces_leave_room_for_third_parties_where_they_can() -> None:
    def length(auth: str) -> int:
        return credentials.nonces(config(f"auth: {{{auth}}}")).mac_length

    tokens = f"oauth: {{server_name: turn.test, {KEYS}}}"
    assert (length("users: {a: b}"), length(tokens), length(f"{tokens}, users: {{a: b}}")) == (
        14,
        10,
        14,
    )
