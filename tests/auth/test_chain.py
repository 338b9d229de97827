from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.tokens import KEY_TEXT, SERVER_NAME
from turnd.auth.access_token import TokenKey
from turnd.auth.chain import CredentialChain
from turnd.auth.credentials import (
    Credential,
    Found,
    FoundKey,
    KeyQuery,
    NeedLookup,
    Outcome,
    Query,
    Unavailable,
    Unknown,
    UserhashQuery,
    UsernameQuery,
)
from turnd.auth.oauth import ThirdParty
from turnd.auth.rest import RestSecrets, Secret
from turnd.auth.static import StaticUsers
from turnd.stun.keys import PasswordAlgorithm, userhash

MD5, SHA256 = PasswordAlgorithm.MD5, PasswordAlgorithm.SHA256
REALM = "example.org"
REDIS_USER = Credential(user="1:bob", quota_user="1:bob", keys={}, source="redis")


@dataclass
class Store:
    algorithms: frozenset[PasswordAlgorithm] = frozenset({MD5, SHA256})
    username_anonymity: bool = True
    answers: dict[Query, Outcome] = field(default_factory=dict)

    def cached(self, name: Query, now: float) -> Outcome | None:  # noqa: ARG002 - the protocol
        return self.answers.get(name)


def make(
    users: dict[str, str] | None = None, secrets: tuple[str, ...] = (), store: Store | None = None
) -> tuple[CredentialChain, RestSecrets]:
    rest = RestSecrets(REALM, secrets, lambda: 0.0)
    return CredentialChain(REALM, StaticUsers(REALM, users or {}), rest, store), rest


def sources(outcome: object) -> list[str]:
    assert isinstance(outcome, Found)
    return [one.source for one in outcome.candidates]


def test_static_users_and_secrets_work_side_by_side() -> None:
    chain, _ = make({"alice": "pw"}, ("one", "two"))
    assert sources(chain.lookup(UsernameQuery("alice"), 0.0)) == ["static"]
    assert sources(chain.lookup(UserhashQuery(userhash("alice", REALM)), 0.0)) == ["static"]
    assert sources(chain.lookup(UsernameQuery("9:bob"), 0.0)) == ["secret 1", "secret 2"]
    assert chain.lookup(UsernameQuery("bob"), 0.0) == Unknown()
    assert chain.lookup(UserhashQuery(b"\0" * 32), 0.0) == Unknown()


def test_a_static_user_beats_a_secret() -> None:
    chain, _ = make({"17:bob": "pw"}, ("one",))
    assert sources(chain.lookup(UsernameQuery("17:bob"), 0.0)) == ["static"]


def test_the_store_is_asked_for_what_nobody_else_knows() -> None:
    store = Store()
    chain, _ = make({"alice": "pw"}, ("one",), store)
    query = UsernameQuery("carol")
    assert chain.lookup(query, 0.0) == NeedLookup(query)
    outcomes: tuple[Outcome, ...] = (Found((REDIS_USER,)), Unknown(), Unavailable("away"))
    for outcome in outcomes:
        store.answers[query] = outcome
        assert chain.lookup(query, 0.0) == outcome


def test_rest_names_do_not_wait_for_the_store() -> None:
    store = Store()
    chain, rest = make(secrets=("one",), store=store)
    query = UsernameQuery("1:bob")
    assert sources(chain.lookup(query, 0.0)) == ["secret 1"]
    store.answers[query] = Unavailable("away")
    assert sources(chain.lookup(query, 0.0)) == ["secret 1"]
    store.answers[query] = Found((REDIS_USER,))
    assert sources(chain.lookup(query, 0.0)) == ["secret 1", "redis"]
    rest.use_store_secrets([Secret("redis secret a", b"x")])
    assert sources(chain.lookup(query, 0.0)) == ["secret 1", "redis secret a", "redis"]


def test_without_secrets_such_a_name_is_the_stores() -> None:
    chain, _ = make(store=Store())
    query = UsernameQuery("1:bob")
    assert chain.lookup(query, 0.0) == NeedLookup(query)


def test_passwords_and_turnds_schema_serve_everything() -> None:
    chain, _ = make({"alice": "pw"}, store=Store())
    assert chain.offers == ((SHA256, MD5), True)


def test_an_md5_key_takes_sha256_away() -> None:
    chain, _ = make({"alice": "pw", "bob": "md5:" + "0" * 32})
    assert chain.offers == ((MD5,), True)


def test_coturns_schema_takes_sha256_and_anonymity_away() -> None:
    store = Store(frozenset({MD5}), username_anonymity=False)
    chain, _ = make({"alice": "pw"}, store=store)
    assert chain.offers == ((MD5,), False)


def test_secrets_take_anonymity_away_whenever_they_come() -> None:
    chain, _ = make(secrets=("one",))
    assert chain.offers == ((SHA256, MD5), False)
    chain, rest = make(store=Store())
    assert chain.offers.username_anonymity
    rest.use_store_secrets([Secret("redis secret a", b"x")])
    assert not chain.offers.username_anonymity


def test_users_who_cannot_be_challenged_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="no password algorithm"):
        make({"a": "md5:" + "0" * 32, "b": "sha256:" + "0" * 64})
    with pytest.raises(ValueError, match=r"realm 'example\.org'"):
        make({"b": "sha256:" + "0" * 64}, store=Store(frozenset({MD5})))


KEY = TokenKey.of(KEY_TEXT, "A256GCM")


def with_tokens(users: dict[str, str], store: Store | None = None) -> CredentialChain:
    third_party = ThirdParty(SERVER_NAME, {"north": KEY}, lambda: 0.0)
    rest = RestSecrets(REALM, (), lambda: 0.0)
    return CredentialChain(REALM, StaticUsers(REALM, users), rest, store, third_party)


def test_keys_of_tokens_are_those_of_the_configuration_then_the_stores() -> None:
    other = TokenKey.of(KEY_TEXT, "A128GCM")
    store = Store(answers={KeyQuery("north"): FoundKey(other), KeyQuery("east"): FoundKey(other)})
    chain = with_tokens({}, store)
    assert chain.lookup(KeyQuery("north"), 0.0) == FoundKey(KEY)
    assert chain.lookup(KeyQuery("east"), 0.0) == FoundKey(other)
    assert chain.lookup(KeyQuery("west"), 0.0) == NeedLookup(KeyQuery("west"))
    assert with_tokens({}).lookup(KeyQuery("east"), 0.0) == Unknown()


def test_without_third_parties_no_key_is_looked_for() -> None:
    chain, _ = make(store=Store())
    assert chain.lookup(KeyQuery("north"), 0.0) == Unknown()
    assert chain.third_party is None


def test_with_third_parties_alone_no_password_algorithm_is_offered() -> None:
    assert with_tokens({}).offers == ((), False)
    assert with_tokens({"alice": "pw"}).offers.algorithms == (SHA256, MD5)
    assert with_tokens({}, Store()).offers.algorithms == (SHA256, MD5)
