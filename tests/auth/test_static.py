from __future__ import annotations

import hashlib

import pytest

from turnd.auth.credentials import UserhashQuery, UsernameQuery
from turnd.auth.static import StaticUsers
from turnd.stun.keys import PasswordAlgorithm, long_term_key, userhash

MD5, SHA256 = PasswordAlgorithm.MD5, PasswordAlgorithm.SHA256
REALM = "example.org"
MD5_KEY = long_term_key("carol", REALM, "pw", MD5)
SHA256_KEY = long_term_key("carol", REALM, "pw", SHA256)


def test_a_password_serves_both_algorithms() -> None:
    users = StaticUsers(REALM, {"alice": "s3cret"})
    found = users.find(UsernameQuery("alice"))
    assert found is not None
    assert found.keys[MD5] == hashlib.md5(b"alice:example.org:s3cret").digest()
    assert found.keys[SHA256] == hashlib.sha256(b"alice:example.org:s3cret").digest()
    assert (found.user, found.quota_user, found.source) == ("alice", "alice", "static")
    assert users.algorithms == {MD5, SHA256}
    assert len(users) == 1


def test_the_hash_finds_the_same_user() -> None:
    users = StaticUsers(REALM, {"alice": "s3cret"})
    by_hash = users.find(UserhashQuery(userhash("alice", REALM)))
    assert by_hash is users.find(UsernameQuery("alice"))


def test_others_are_not_found() -> None:
    users = StaticUsers(REALM, {"alice": "s3cret"})
    assert users.find(UsernameQuery("Alice")) is None
    assert users.find(UserhashQuery(b"\0" * 32)) is None


@pytest.mark.parametrize(
    ("secret", "keys"),
    [
        (f"md5:{MD5_KEY.hex()}", {MD5: MD5_KEY}),
        (f"MD5:{MD5_KEY.hex().upper()}", {MD5: MD5_KEY}),
        (f"sha256:{SHA256_KEY.hex()}", {SHA256: SHA256_KEY}),
        (f"md5:{MD5_KEY.hex()} sha256:{SHA256_KEY.hex()}", {MD5: MD5_KEY, SHA256: SHA256_KEY}),
    ],
)
def test_keys_are_taken_as_they_are(secret: str, keys: dict[PasswordAlgorithm, bytes]) -> None:
    users = StaticUsers(REALM, {"carol": secret})
    found = users.find(UsernameQuery("carol"))
    assert found is not None
    assert dict(found.keys) == keys
    assert users.algorithms == set(keys)


def test_only_what_every_user_has_a_key_for_is_common() -> None:
    assert StaticUsers(REALM, {}).algorithms == {MD5, SHA256}
    mixed = {"alice": "pw", "carol": f"md5:{MD5_KEY.hex()}"}
    assert StaticUsers(REALM, mixed).algorithms == {MD5}
    mixed["dave"] = f"sha256:{SHA256_KEY.hex()}"
    assert StaticUsers(REALM, mixed).algorithms == set()


@pytest.mark.parametrize(
    "secret", ["md5:123", "md5:1234", "sha256:" + "0" * 32, f"md5:{'g' * 32}", f"md5:{'0' * 32} pw"]
)
def test_what_begins_like_a_key_but_is_none_is_an_error(secret: str) -> None:
    with pytest.raises(ValueError, match="malformed key") as caught:
        StaticUsers(REALM, {"carol": secret})
    assert secret not in str(caught.value)


def test_empty_and_forbidden_texts_are_errors() -> None:
    with pytest.raises(ValueError, match="empty password"):
        StaticUsers(REALM, {"alice": ""})
    with pytest.raises(ValueError, match="no name may"):
        StaticUsers(REALM, {"al\0ice": "pw"})
    with pytest.raises(ValueError, match="password of user 'alice'") as caught:
        StaticUsers(REALM, {"alice": "p\0w"})
    assert "p\0w" not in str(caught.value)


def test_a_name_is_found_as_clients_prepare_it() -> None:
    users = StaticUsers(REALM, {"Ju\u0308rgen": "pw"})  # decomposed, as some editors write it
    found = users.find(UsernameQuery("J\u00fcrgen"))
    assert found is not None
    assert found.user == "J\u00fcrgen"
