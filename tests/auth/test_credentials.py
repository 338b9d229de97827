from __future__ import annotations

import hashlib
from math import inf

import pytest

from turnd.auth.access_token import AccessToken
from turnd.auth.credentials import (
    Credential,
    DerivedKeys,
    Offers,
    UserhashQuery,
    UsernameQuery,
    decoy_keys,
)
from turnd.stun.integrity import Integrity, IntegrityAlgorithm
from turnd.stun.keys import PasswordAlgorithm, userhash
from turnd.stun.nonce_cookie import SecurityFeature

MD5, SHA256 = PasswordAlgorithm.MD5, PasswordAlgorithm.SHA256


def test_derived_keys_are_those_of_the_rfc() -> None:
    keys = DerivedKeys("user", "realm", "pass")
    assert keys[MD5].hex() == "8493fbc53ba582fb4c044c456bdc40eb"  # RFC 8489 section 9.2.2
    assert keys[SHA256] == hashlib.sha256(b"user:realm:pass").digest()
    assert keys[MD5] is keys[MD5]  # made once
    assert dict(keys) == {MD5: keys[MD5], SHA256: keys[SHA256]}
    assert len(keys) == 2


def test_an_algorithm_nobody_knows_has_no_key() -> None:
    keys = DerivedKeys("user", "realm", "pass")
    with pytest.raises(KeyError):
        _ = keys[7]  # type: ignore[index]  # numbers from the wire are open
    assert keys.get(7) is None  # type: ignore[call-overload]  # as above


def test_no_repr_shows_a_password_or_a_key() -> None:
    keys = DerivedKeys("user", "realm", "hunter2")
    credential = Credential(user="user", quota_user="user", keys=keys)
    text = repr((keys, credential, UserhashQuery(keys[SHA256])))
    assert "hunter2" not in text
    assert repr(keys[SHA256]) not in text


def test_a_dated_credential_is_valid_through_its_last_second() -> None:
    dated = Credential(user="9:a", quota_user="a", keys={}, expires_at=9.0)
    assert not dated.expired(9.0)
    assert dated.expired(9.001)
    assert not Credential(user="a", quota_user="a", keys={}).expired(1e12)


def test_a_password_signs_as_the_client_chose() -> None:
    credential = Credential(user="a", quota_user="a", keys={MD5: b"md5"}, expires_at=9.0)
    assert credential.owner == "a"
    assert credential.integrity(MD5, IntegrityAlgorithm.SHA256) == (
        b"md5",
        IntegrityAlgorithm.SHA256,
    )
    assert credential.integrity(SHA256, IntegrityAlgorithm.SHA256) is None
    assert credential.longest_lifetime(1e12) == inf


def test_a_token_signs_and_ends_by_itself() -> None:
    integrity = Integrity(bytes(20), IntegrityAlgorithm.SHA1)
    access = AccessToken(b"token", integrity, timestamp=1000.0, lifetime=60)
    credential = Credential(user="kid", quota_user="kid 1", keys={}, access=access)
    assert credential.owner == ""
    assert credential.integrity(SHA256, IntegrityAlgorithm.SHA256) == integrity
    assert not credential.expired(1064.0)
    assert credential.expired(1065.0)
    assert credential.longest_lifetime(1000.0) == 60
    assert "token" not in repr(credential)


def test_a_name_and_its_hash_are_of_one_user() -> None:
    name, hashed = UsernameQuery("alice"), UserhashQuery(userhash("alice", "example.org"))
    for query in (name, hashed):
        assert query.is_of("alice", "example.org")
        assert not query.is_of("bob", "example.org")
        assert not query.is_of("a\nlice", "example.org")
    assert not hashed.is_of("alice", "b.example")
    assert (str(name), str(hashed)) == ("alice", f"userhash:{hashed.userhash.hex()}")


def test_names_and_hashes_are_told_apart_as_keys_of_a_table() -> None:
    table: dict[object, int] = {UsernameQuery("a"): 1, UserhashQuery(b"a"): 2}
    assert table[UsernameQuery("a")] == 1
    assert table[UserhashQuery(b"a")] == 2


def test_the_cookie_bits_follow_the_offers() -> None:
    assert Offers((MD5,), username_anonymity=False).features == SecurityFeature.PASSWORD_ALGORITHMS
    assert Offers((), username_anonymity=False).features == SecurityFeature(0)
    assert Offers((SHA256, MD5), username_anonymity=True).features == (
        SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY
    )


def test_decoy_keys_fit_no_one_and_stay_the_same_for_a_name() -> None:
    keys = decoy_keys(UsernameQuery("nobody"), b"salt")
    assert (len(keys[MD5]), len(keys[SHA256])) == (16, 32)
    assert keys == decoy_keys(UsernameQuery("nobody"), b"salt")
    assert keys != decoy_keys(UsernameQuery("nobody"), b"pepper")
    assert keys != decoy_keys(UserhashQuery(b"h" * 32), b"salt")
