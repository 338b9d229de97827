from __future__ import annotations

from typing import Any

import pytest

from tests.client.scripted import answer
from turnd.client.answers import judged, read, read_all, success, take_all
from turnd.client.credentials import Verdict
from turnd.client.errors import ClientError, IntegrityError, StunError
from turnd.client.transactions import Timing, Transaction
from turnd.stun import attributes as a
from turnd.stun.errors import DecodeError
from turnd.stun.message import Message, MessageClass, Method, decode_untrusted, encode_message

REQUEST = decode_untrusted(encode_message(Method.REFRESH, MessageClass.REQUEST, bytes(12), ()))


def answered(kind: MessageClass, *attributes: tuple[a.Attribute[Any], Any]) -> Message:
    return decode_untrusted(answer(REQUEST, kind, attributes))


def transaction() -> Transaction:
    return Transaction(b"", 0.0, Timing(), reliable=False, rto=1.0)


def test_malformed_values_are_the_servers_fault() -> None:
    broken = answered(MessageClass.SUCCESS, (a.raw(a.LIFETIME.number), b"\0"))
    with pytest.raises(ClientError, match="LIFETIME is malformed"):
        read(broken, a.LIFETIME)
    with pytest.raises(ClientError, match="LIFETIME is malformed"):
        read_all(broken, a.LIFETIME)
    assert read(broken, a.REALM) is None


def test_only_a_success_that_is_understood_is_one() -> None:
    good = answered(MessageClass.SUCCESS, (a.LIFETIME, 600), (a.raw(0xFABC), b""))
    assert success(good) is good
    with pytest.raises(StunError, match="486 Quota"):
        success(answered(MessageClass.ERROR, (a.ERROR_CODE, a.ErrorCodeValue(486, "Quota"))))
    with pytest.raises(StunError, match="0 an error without ERROR-CODE"):
        success(answered(MessageClass.ERROR))
    with pytest.raises(ClientError, match=r"nobody knows: 0x7abc$"):
        success(answered(MessageClass.SUCCESS, (a.raw(0x7ABC), b"")))


def test_a_violation_ends_a_stream_s_transaction_alone() -> None:
    response = answered(MessageClass.SUCCESS)

    def violated(_response: Message) -> Verdict:
        return Verdict.VIOLATED

    assert judged(violated, response, transaction(), reliable=False) is Verdict.VIOLATED
    with pytest.raises(IntegrityError, match=r"an unsigned answer \(success\)"):
        judged(violated, response, transaction(), reliable=True)


def test_a_malformed_answer_is_as_if_it_never_came() -> None:
    def malformed(_response: Message) -> Verdict:
        raise DecodeError("no nonce")

    response = answered(MessageClass.SUCCESS)
    assert judged(malformed, response, transaction(), reliable=True) is Verdict.DISCARD
    assert judged(take_all, response, transaction(), reliable=True) is Verdict.ACCEPT
