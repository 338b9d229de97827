from __future__ import annotations

from turnd.auth.access_token import TokenAlgorithm, TokenKey
from turnd.auth.credentials import (
    Credential,
    Found,
    FoundKey,
    KeyQuery,
    Unknown,
    UsernameQuery,
)
from turnd.auth.store_cache import CacheLimits, StoreCache

LIMITS = CacheLimits(ttl=60.0, negative_ttl=2.0, entries=3, negative_entries=3)
BOB = UsernameQuery("bob")


def found(user: str = "bob") -> Found:
    return Found((Credential(user=user, quota_user=user, keys={}),))


def test_a_user_counts_for_its_time_and_is_stale_afterwards() -> None:
    cache = StoreCache(LIMITS)
    cache.put(BOB, found(), 100.0, cache.generation)
    assert cache.fresh(BOB, 159.9) == found()
    assert cache.fresh(BOB, 160.0) is None
    assert cache.stale(BOB) == found()


def test_a_miss_counts_briefly_and_is_never_stale() -> None:
    cache = StoreCache(LIMITS)
    cache.put(BOB, Unknown(), 100.0, cache.generation)
    assert cache.fresh(BOB, 101.9) == Unknown()
    assert cache.fresh(BOB, 102.0) is None
    assert cache.stale(BOB) is None


def test_the_last_answer_counts() -> None:
    cache = StoreCache(LIMITS)
    cache.put(BOB, Unknown(), 0.0, cache.generation)
    cache.put(BOB, found(), 0.0, cache.generation)
    assert cache.fresh(BOB, 1.0) == found()
    cache.put(BOB, Unknown(), 0.0, cache.generation)
    assert cache.fresh(BOB, 1.0) == Unknown()
    assert cache.stale(BOB) is None
    assert len(cache) == 1


def test_unknown_names_push_out_no_user() -> None:
    cache = StoreCache(LIMITS)
    cache.put(BOB, found(), 0.0, cache.generation)
    for number in range(100):
        cache.put(UsernameQuery(str(number)), Unknown(), 0.0, cache.generation)
    assert cache.fresh(BOB, 1.0) == found()
    assert len(cache) == 4
    assert cache.fresh(UsernameQuery("0"), 1.0) is None
    assert cache.fresh(UsernameQuery("99"), 1.0) == Unknown()


def test_the_longest_unused_user_goes_first() -> None:
    cache = StoreCache(LIMITS)
    for user in "abc":
        cache.put(UsernameQuery(user), found(user), 0.0, cache.generation)
    assert cache.fresh(UsernameQuery("a"), 1.0) == found("a")
    cache.put(UsernameQuery("d"), found("d"), 0.0, cache.generation)
    assert cache.stale(UsernameQuery("b")) is None
    assert cache.stale(UsernameQuery("a")) == found("a")


def test_what_changed_is_forgotten() -> None:
    cache = StoreCache()
    cache.put(BOB, found(), 0.0, cache.generation)
    carol = UsernameQuery("carol")
    cache.put(carol, Unknown(), 0.0, cache.generation)
    cache.forget(BOB, carol)
    assert cache.stale(BOB) is None
    assert cache.fresh(carol, 0.0) is None


def test_an_answer_from_before_a_change_is_not_kept() -> None:
    cache = StoreCache(LIMITS)
    before = cache.generation
    cache.forget(BOB)
    cache.put(BOB, found(), 0.0, before)
    assert cache.fresh(BOB, 0.0) is None
    assert cache.stale(BOB) is None


def test_after_missed_changes_all_are_asked_for_again_but_kept() -> None:
    cache = StoreCache(LIMITS)
    cache.put(BOB, found(), 0.0, cache.generation)
    carol = UsernameQuery("carol")
    cache.put(carol, Unknown(), 0.0, cache.generation)
    before = cache.generation
    cache.expire_all()
    assert cache.fresh(BOB, 0.0) is None
    assert cache.stale(BOB) == found()
    assert cache.fresh(carol, 0.0) is None
    cache.put(carol, found("carol"), 0.0, before)
    assert cache.fresh(carol, 0.0) is None


def test_keys_of_tokens_are_kept_like_users() -> None:
    cache = StoreCache()
    key = FoundKey(TokenKey(TokenAlgorithm.A128GCM, bytes(16)))
    cache.put(KeyQuery("alice"), key, 0.0, cache.generation)
    assert cache.fresh(KeyQuery("alice"), 0.0) == key
    assert cache.stale(KeyQuery("alice")) == key
    assert cache.fresh(UsernameQuery("alice"), 0.0) is None
    cache.forget(KeyQuery("alice"))
    assert cache.stale(KeyQuery("alice")) is None
