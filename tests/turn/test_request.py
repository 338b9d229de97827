from __future__ import annotations

from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode
from turnd.stun.message import Integrity, IntegrityAlgorithm
from turnd.turn.request import Refused


def test_a_refusal_reads_as_code_phrase_and_why() -> None:
    assert str(Refused(ErrorCode.FORBIDDEN, "peer 10.0.0.1")) == "403 Forbidden: peer 10.0.0.1"


def test_without_a_why_the_phrase_is_told() -> None:
    refused = Refused(ErrorCode.FORBIDDEN)
    assert refused.why == "Forbidden"
    assert refused.attributes == ()
    assert refused.integrity is None


def test_it_carries_what_the_answer_needs() -> None:
    integrity = Integrity(b"key", IntegrityAlgorithm.SHA256)
    refused = Refused(ErrorCode.STALE_NONCE, "old", ((a.NONCE, "new"),), integrity)
    assert refused.code is ErrorCode.STALE_NONCE
    assert refused.attributes == ((a.NONCE, "new"),)
    assert refused.integrity is integrity
