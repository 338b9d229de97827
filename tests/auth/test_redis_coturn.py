from __future__ import annotations

import hashlib

import pytest

from tests.auth.records import Records
from turnd.auth.access_token import TokenAlgorithm, TokenKey
from turnd.auth.credentials import KeyQuery, UserhashQuery, UsernameQuery
from turnd.auth.redis_coturn import CoturnSchema
from turnd.auth.redis_schema import BadRecordError, Change, RealmOptions, names_of
from turnd.auth.rest import MAX_SECRETS
from turnd.stun.keys import PasswordAlgorithm

REALM = "north.gov"
KEY = b"turn/realm/north.gov/user/ninefingers/key"
# As coturn's schema.userdb.redis sets it for password "youhavetoberealistic".
DIGITS = b"bc807ee29df3c9ffa736523fb2c4e8ee"
SCHEMA = CoturnSchema(REALM)


async def test_a_user_as_coturn_writes_it() -> None:
    found = await SCHEMA.read_user(
        Records(strings={KEY: DIGITS}).execute, UsernameQuery("ninefingers")
    )
    assert found is not None
    assert (found.user, found.quota_user, found.quota) == ("ninefingers", "ninefingers", None)
    expected = hashlib.md5(b"ninefingers:north.gov:youhavetoberealistic").digest()
    assert dict(found.keys) == {PasswordAlgorithm.MD5: expected}
    assert found.source == "redis"


async def test_digits_past_the_key_are_left_alone_as_coturn_does() -> None:
    records = Records(strings={KEY: DIGITS + b"0123"})
    found = await SCHEMA.read_user(records.execute, UsernameQuery("ninefingers"))
    assert found is not None
    assert found.keys[PasswordAlgorithm.MD5].hex().encode() == DIGITS


@pytest.mark.parametrize("digits", [b"", b"plain", b"\xff" * 32, DIGITS[:-2]])
async def test_a_malformed_key_is_said_to_be_so(digits: bytes) -> None:
    with pytest.raises(BadRecordError) as caught:
        await SCHEMA.read_user(Records(strings={KEY: digits}).execute, UsernameQuery("ninefingers"))
    assert "plain" not in str(caught.value)


async def test_others_are_unknown() -> None:
    records = Records(strings={KEY: DIGITS})
    assert await SCHEMA.read_user(records.execute, UsernameQuery("logen")) is None
    assert await SCHEMA.read_user(records.execute, UserhashQuery(b"\0" * 32)) is None


async def test_a_name_leads_into_no_other_realm() -> None:
    records = Records(strings={b"turn/realm/north.gov/user/x/user/y/key": DIGITS})
    assert await SCHEMA.read_user(records.execute, UsernameQuery("x/user/y")) is None
    assert records.asked == []


async def test_secrets_keep_their_labels() -> None:
    records = Records(sets={b"turn/realm/north.gov/secret": {b"two", b"one"}})
    secrets = await SCHEMA.read_secrets(records.execute)
    assert [(one.label, one.value, one.not_after) for one in secrets] == [
        ("redis secret 1", b"one", None),
        ("redis secret 2", b"two", None),
    ]
    records.sets[SCHEMA.secrets_key] = {b"%d" % n for n in range(100)}
    assert len(await SCHEMA.read_secrets(records.execute)) == MAX_SECRETS


@pytest.mark.parametrize("empty", [b"", b" "])
async def test_an_empty_secret_opens_no_door(empty: bytes) -> None:
    records = Records(sets={SCHEMA.secrets_key: {b"one", empty}})
    with pytest.raises(BadRecordError, match="a secret of the realm is empty"):
        await SCHEMA.read_secrets(records.execute)


async def test_options_of_the_realm() -> None:
    assert await SCHEMA.read_options(Records().execute) == RealmOptions(None, None)
    records = Records(
        strings={
            b"turn/realm/north.gov/total-quota": b"100",
            b"turn/realm/north.gov/user-quota": b"0",
        }
    )
    assert await SCHEMA.read_options(records.execute) == RealmOptions(100, 0)
    records.strings[b"turn/realm/north.gov/user-quota"] = b"some"
    with pytest.raises(BadRecordError, match="user-quota of the realm is no number"):
        await SCHEMA.read_options(records.execute)


def test_what_it_can_serve() -> None:
    assert SCHEMA.algorithms == {PasswordAlgorithm.MD5}
    assert not SCHEMA.username_anonymity


def test_what_a_changed_key_bears_on() -> None:
    assert SCHEMA.change(KEY) == Change(names=names_of("ninefingers", REALM))
    for tail in (b"secret", b"total-quota", b"user-quota"):
        assert SCHEMA.change(b"turn/realm/north.gov/" + tail) == Change(realm=True)
    for tail in (b"max-bps", b"user/ninefingers/allocation/000000000000000001/status"):
        assert SCHEMA.change(b"turn/realm/north.gov/" + tail) == Change()


TOKEN_KEY = b"turn/oauth/kid/union"
# As coturn's testredisdbsetup.sh sets it.
UNION = {b"ikm_key": b"MTIzNDU2Nzg5MDEyMzQ1Ngo=", b"as_rs_alg": b"A128GCM", b"realm": b"north.gov"}


async def test_keys_of_tokens_as_coturn_writes_them() -> None:
    records = Records(hashes={TOKEN_KEY: UNION})
    expected = TokenKey(TokenAlgorithm.A128GCM, b"1234567890123456")
    assert await SCHEMA.read_key(records.execute, "union") == expected
    assert await CoturnSchema("crinna.org").read_key(records.execute, "union") is None
    assert await SCHEMA.read_key(records.execute, "north") is None
    ends = UNION | {b"realm": b"", b"timestamp": b"1700000000", b"lifetime": b"60"}
    records = Records(hashes={TOKEN_KEY: ends})
    key = await CoturnSchema("crinna.org").read_key(records.execute, "union")
    assert key is not None
    assert key.not_after == 1_700_000_060


def test_keys_of_tokens_lie_beside_the_realms() -> None:
    assert SCHEMA.prefixes == (b"turn/realm/north.gov/", b"turn/oauth/kid/")
    assert SCHEMA.change(TOKEN_KEY) == Change(names=(KeyQuery("union"),))
