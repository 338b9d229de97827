"""What to make of a server's answers: which to take, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from turnd.client.credentials import LongTermCredentials, Signing, Verdict, error_code, is_signed
from turnd.client.errors import ClientError, IntegrityError, StunError
from turnd.stun import attributes as a
from turnd.stun.errors import DecodeError
from turnd.stun.message import Message

if TYPE_CHECKING:
    from turnd.client.transactions import Transaction
    from turnd.stun.attributes import Attribute

T = TypeVar("T")
V = TypeVar("V")

Judge = Callable[[Message], Verdict]
"""Decides about an answer; raises DecodeError for a malformed one."""

_KNOWN = frozenset(a.ATTRIBUTES)


def read(response: Message, attribute: Attribute[T]) -> T | None:
    """An attribute of an answer.

    Raises:
        ClientError: it is malformed.
    """
    return _well_formed(response.get, attribute)


def read_all(response: Message, attribute: Attribute[T]) -> list[T]:
    """Every occurrence of an attribute in an answer.

    Raises:
        ClientError: one is malformed.
    """
    return _well_formed(response.get_all, attribute)


def _well_formed(get: Callable[[Attribute[T]], V], attribute: Attribute[T]) -> V:
    try:
        return get(attribute)
    except DecodeError as error:
        raise ClientError(f"the answer's {attribute.name} is malformed: {error}") from error


def judge_with(credentials: LongTermCredentials, signing: Signing | None) -> Judge:
    """What the credentials say to an answer to a request that was signed so."""
    return lambda response: credentials.judge(response, signing)


def take_all(_response: Message) -> Verdict:
    """Whatever answers is taken."""
    return Verdict.ACCEPT


def judged(judge: Judge, response: Message, txn: Transaction, *, reliable: bool) -> Verdict:
    """The verdict on an answer; the transaction is told of those that it must forget.

    Raises:
        IntegrityError: a forged answer on a stream, where no other can follow.
    """
    try:
        verdict = judge(response)
    except DecodeError as error:
        txn.discard(f"malformed: {error}")
        return Verdict.DISCARD
    if verdict is Verdict.DISCARD:
        txn.discard(f"an unsigned answer ({_success_or_code(response)})")
    elif verdict is Verdict.VIOLATED:
        why = "the answer's integrity does not hold"
        if not is_signed(response):
            why = f"an unsigned answer ({_success_or_code(response)})"
        if reliable:
            raise IntegrityError(why)
        txn.discard(why)
    return verdict


def _success_or_code(response: Message) -> str:
    code = error_code(response)
    return "success" if code is None else f"error {code}"


def success(response: Message) -> Message:
    """The response, when it is a success that we understand (RFC 8489 sections 6.3.3, 6.3.4).

    Raises:
        StunError: it is an error response.
        ClientError: it is malformed, or has attributes that must be understood and are not.
    """
    value = read(response, a.ERROR_CODE)
    code = error_code(response)
    unknown = response.unknown_required(_KNOWN)
    if unknown:
        listed = ", ".join(f"0x{number:04x}" for number in unknown)
        raise ClientError(f"the answer has attributes that nobody knows: {listed}")
    if code is not None:
        reason = "an error without ERROR-CODE" if value is None else value.reason
        raise StunError(code, reason, response)
    return response
