from __future__ import annotations

from typing import Any

import pytest

from turnd.client.credentials import LongTermCredentials, Verdict, error_code, is_signed
from turnd.client.errors import BidDownError, ClientError
from turnd.stun import attributes as a
from turnd.stun.attributes import PasswordAlgorithmEntry
from turnd.stun.errors import DecodeError
from turnd.stun.keys import PasswordAlgorithm, long_term_key, userhash
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    Message,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)
from turnd.stun.nonce_cookie import SecurityFeature, add_cookie

REALM = "example.org"
MD5 = PasswordAlgorithmEntry(PasswordAlgorithm.MD5, b"")
SHA256 = PasswordAlgorithmEntry(PasswordAlgorithm.SHA256, b"")
STRANGE = PasswordAlgorithmEntry(0x4444, b"")
WITH_ALGORITHMS = add_cookie(SecurityFeature.PASSWORD_ALGORITHMS, "n1")
ANONYMOUS = add_cookie(
    SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY, "n2"
)


def response(
    code: int | None = None,
    *attributes: tuple[a.Attribute[Any], Any],
    integrity: Integrity | None = None,
) -> Message:
    """A success, or an error with a code (0: without ERROR-CODE)."""
    kind = MessageClass.SUCCESS if code is None else MessageClass.ERROR
    error = [(a.ERROR_CODE, a.ErrorCodeValue(code, ""))] if code else []
    data = encode_message(
        Method.ALLOCATE, kind, bytes(12), [*error, *attributes], integrity=integrity
    )
    return decode_untrusted(data)


def challenge(
    nonce: str = "plain",
    *offered: PasswordAlgorithmEntry,
    code: int = 401,
    realm: str = REALM,
) -> Message:
    listed = [(a.PASSWORD_ALGORITHMS, offered)] if offered else []
    return response(code, (a.REALM, realm), (a.NONCE, nonce), *listed)


def challenged(*args: Any, **kwargs: Any) -> LongTermCredentials:
    credentials = LongTermCredentials("alice", "s3cret")
    assert credentials.judge(challenge(*args, **kwargs), None) is Verdict.RETRY
    return credentials


def signed_attributes(credentials: LongTermCredentials) -> dict[str, Any]:
    signing = credentials.signing()
    assert signing is not None
    return {attribute.name: value for attribute, value in signing.attributes}


def test_the_first_request_is_bare() -> None:
    credentials = LongTermCredentials("alice", "s3cret")

    assert credentials.signing() is None
    assert credentials.algorithm is None
    assert credentials.realm is None


def test_a_server_of_rfc_5389_gets_md5_and_sha1() -> None:
    credentials = challenged("plain")
    signing = credentials.signing()

    assert signed_attributes(credentials) == {"USERNAME": "alice", "REALM": REALM, "NONCE": "plain"}
    assert signing is not None
    assert signing.integrity == Integrity(
        long_term_key("alice", REALM, "s3cret", PasswordAlgorithm.MD5), IntegrityAlgorithm.SHA1
    )
    assert credentials.algorithm is PasswordAlgorithm.MD5
    assert credentials.realm == REALM


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((SHA256, MD5), SHA256),
        ((MD5, SHA256), MD5),
        ((STRANGE, SHA256), SHA256),
    ],
)
def test_the_first_algorithm_that_is_known_is_taken(
    offered: tuple[PasswordAlgorithmEntry, ...], chosen: PasswordAlgorithmEntry
) -> None:
    credentials = challenged(WITH_ALGORITHMS, *offered)
    signing = credentials.signing()
    attributes = signed_attributes(credentials)

    assert tuple(attributes["PASSWORD-ALGORITHMS"]) == offered
    assert attributes["PASSWORD-ALGORITHM"] == chosen
    assert signing is not None
    algorithm = PasswordAlgorithm(chosen.algorithm)
    assert signing.integrity == Integrity(
        long_term_key("alice", REALM, "s3cret", algorithm), IntegrityAlgorithm.SHA256
    )


def test_only_unknown_algorithms_are_no_reason_to_try_again() -> None:
    credentials = LongTermCredentials("alice", "s3cret")

    with pytest.raises(ClientError, match="no password algorithm"):
        credentials.judge(challenge(WITH_ALGORITHMS, STRANGE), None)
    assert credentials.signing() is None


def test_the_name_is_hashed_where_the_server_can_find_it_so() -> None:
    attributes = signed_attributes(challenged(ANONYMOUS, SHA256))

    assert attributes["USERHASH"] == userhash("alice", REALM)
    assert "USERNAME" not in attributes


def test_a_nonce_that_promises_more_than_the_answer_has_is_a_bid_down() -> None:
    credentials = LongTermCredentials("alice", "s3cret")

    with pytest.raises(BidDownError, match="lists none"):
        credentials.judge(challenge(WITH_ALGORITHMS), None)
    assert credentials.signing() is None


def test_algorithms_that_vanish_later_are_a_bid_down() -> None:
    credentials = challenged(WITH_ALGORITHMS, SHA256)

    with pytest.raises(BidDownError, match="no longer"):
        credentials.judge(challenge("plain", code=438), credentials.signing())


def test_an_old_client_sees_neither_algorithms_nor_promises() -> None:
    credentials = LongTermCredentials("alice", "s3cret", rfc5389=True)

    assert credentials.judge(challenge(ANONYMOUS, SHA256), None) is Verdict.RETRY
    assert signed_attributes(credentials).keys() == {"USERNAME", "REALM", "NONCE"}
    assert credentials.algorithm is PasswordAlgorithm.MD5
    success = response(None, (a.NONCE, WITH_ALGORITHMS), integrity=_integrity(credentials))
    assert credentials.judge(success, credentials.signing()) is Verdict.ACCEPT


def test_a_stale_nonce_is_replaced_as_often_as_asked() -> None:
    credentials = challenged(WITH_ALGORITHMS, SHA256)
    newer = add_cookie(SecurityFeature.PASSWORD_ALGORITHMS, "n9")

    for _ in range(3):
        stale = challenge(newer, SHA256, code=438)
        assert credentials.judge(stale, credentials.signing()) is Verdict.RETRY
    assert signed_attributes(credentials)["NONCE"] == newer


def test_a_second_401_is_final() -> None:
    credentials = challenged("first")

    assert credentials.judge(challenge("second"), credentials.signing()) is Verdict.ACCEPT
    assert signed_attributes(credentials)["NONCE"] == "second"


def test_another_realm_is_another_try() -> None:
    credentials = challenged("first")
    old = credentials.signing()

    assert credentials.judge(challenge("first", realm="b.example"), old) is Verdict.RETRY
    new = credentials.signing()
    assert new is not None
    assert new.integrity.key == long_term_key("alice", "b.example", "s3cret", PasswordAlgorithm.MD5)


def test_a_401_without_nonce_or_realm_is_only_an_error() -> None:
    credentials = LongTermCredentials("alice", "s3cret")

    assert credentials.judge(response(401, (a.REALM, REALM)), None) is Verdict.ACCEPT
    assert credentials.judge(response(401, (a.NONCE, "n")), None) is Verdict.ACCEPT
    assert credentials.signing() is None


def _integrity(credentials: LongTermCredentials) -> Integrity:
    signing = credentials.signing()
    assert signing is not None
    return signing.integrity


class TestAnswersToSignedRequests:
    def test_what_the_password_vouches_for_is_taken(self) -> None:
        credentials = challenged(WITH_ALGORITHMS, SHA256)
        signing = credentials.signing()
        integrity = _integrity(credentials)

        assert credentials.judge(response(None, integrity=integrity), signing) is Verdict.ACCEPT
        assert credentials.judge(response(437, integrity=integrity), signing) is Verdict.ACCEPT
        assert credentials.judge(response(400, integrity=integrity), signing) is Verdict.ACCEPT

    def test_a_wrong_key_and_no_integrity_violate(self) -> None:
        credentials = challenged(WITH_ALGORITHMS, SHA256)
        forged = Integrity(bytes(32), IntegrityAlgorithm.SHA256)

        for answer in (response(None, integrity=forged), response(None), response(508)):
            assert credentials.judge(answer, credentials.signing()) is Verdict.VIOLATED

    def test_weaker_integrity_than_the_request_had_violates(self) -> None:
        credentials = challenged(WITH_ALGORITHMS, SHA256)
        weaker = Integrity(_integrity(credentials).key, IntegrityAlgorithm.SHA1)

        answer = response(None, integrity=weaker)

        assert credentials.judge(answer, credentials.signing()) is Verdict.VIOLATED

    def test_an_unsigned_400_was_never_received(self) -> None:
        credentials = challenged("plain")

        assert credentials.judge(response(400), credentials.signing()) is Verdict.DISCARD

    def test_an_answer_that_breaks_its_nonces_promise_is_ignored(self) -> None:
        credentials = challenged("plain")
        answer = response(None, (a.NONCE, WITH_ALGORITHMS), integrity=_integrity(credentials))

        assert credentials.judge(answer, credentials.signing()) is Verdict.DISCARD


def test_answers_to_bare_requests_are_taken_as_they_are() -> None:
    credentials = LongTermCredentials("alice", "s3cret")

    assert credentials.judge(response(400), None) is Verdict.ACCEPT
    assert credentials.judge(response(None), None) is Verdict.ACCEPT


def test_malformed_attributes_are_told() -> None:
    credentials = LongTermCredentials("alice", "s3cret")
    broken = response(401, (a.REALM, REALM), (a.NONCE, "n"), (a.raw(0x8002), b"\0"))

    with pytest.raises(DecodeError):
        credentials.judge(broken, None)


def test_error_codes_and_signatures() -> None:
    key = Integrity(bytes(16), IntegrityAlgorithm.SHA1)

    assert error_code(response(None)) is None
    assert error_code(response(0)) == 0
    assert error_code(response(486)) == 486
    assert is_signed(response(None, integrity=key))
    assert not is_signed(response(None))
