from __future__ import annotations

import pytest

from tests.tokens import KEY_TEXT, SERVER_NAME, seal
from turnd.auth.access_token import TokenKey, open_token_untrusted
from turnd.auth.oauth import ThirdParty, token_credential
from turnd.stun.errors import DecodeError
from turnd.stun.integrity import IntegrityAlgorithm
from turnd.stun.keys import PasswordAlgorithm

NOW = 1_800_000_000.0
KEY = TokenKey.of(KEY_TEXT, "A256GCM", timestamp=int(NOW), lifetime=60)


def test_tokens_for_this_server_are_opened() -> None:
    third_party = ThirdParty(SERVER_NAME, {}, lambda: NOW)
    token = seal(NOW)
    assert third_party.open_untrusted(token, KEY) == open_token_untrusted(token, KEY, SERVER_NAME)
    with pytest.raises(DecodeError):
        ThirdParty("other.test", {}, lambda: NOW).open_untrusted(token, KEY)


def test_a_key_that_has_ended_opens_nothing() -> None:
    third_party = ThirdParty(SERVER_NAME, {}, lambda: NOW + 65)
    with pytest.raises(DecodeError, match="lifetime"):
        third_party.open_untrusted(seal(NOW), KEY)


def test_each_token_is_a_user_of_its_own_to_quotas() -> None:
    first, second = (
        open_token_untrusted(seal(NOW, nonce=nonce), KEY, SERVER_NAME)
        for nonce in (b"first nonce!", b"second nonce")
    )
    one, same, other = (token_credential("north", each, KEY) for each in (first, first, second))
    assert one.quota_user == same.quota_user != other.quota_user
    assert {one.user, other.user} == {"north"}
    assert one.quota_user.startswith("north ")
    assert one.source == "token"


def test_a_token_brings_its_own_key_and_time() -> None:
    access = open_token_untrusted(seal(NOW, 60), KEY, SERVER_NAME)
    credential = token_credential("north", access, KEY)
    for algorithm in PasswordAlgorithm:
        for signs_with in IntegrityAlgorithm:
            assert credential.integrity(algorithm, signs_with) == access.integrity
    assert (credential.owner, credential.shared) == ("", KEY.value)
    assert not credential.expired(NOW)
    assert credential.expired(NOW + 65)
    assert credential.longest_lifetime(NOW + 20) == 45
