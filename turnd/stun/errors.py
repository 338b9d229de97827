"""What can go wrong on the wire, and the codes that say so (RFC 8489 14.8, RFC 8656 19)."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class DecodeError(ValueError):
    """Bytes from the network that are not what they claim to be: the sender's fault, never ours."""


class ErrorCode(IntEnum):
    """The error codes of IANA's registry, each with its recommended reason phrase."""

    reason: str

    def __new__(cls, code: int, reason: str = "") -> Self:
        """A member; the reason's default lets a type checker accept the look-up by number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        return member

    # RFC 8489
    TRY_ALTERNATE = 300, "Try Alternate"
    BAD_REQUEST = 400, "Bad Request"
    UNAUTHENTICATED = 401, "Unauthenticated"
    UNKNOWN_ATTRIBUTE = 420, "Unknown Attribute"
    STALE_NONCE = 438, "Stale Nonce"
    SERVER_ERROR = 500, "Server Error"
    # RFC 8656
    FORBIDDEN = 403, "Forbidden"
    ALLOCATION_MISMATCH = 437, "Allocation Mismatch"
    ADDRESS_FAMILY_NOT_SUPPORTED = 440, "Address Family not Supported"
    WRONG_CREDENTIALS = 441, "Wrong Credentials"
    UNSUPPORTED_TRANSPORT_PROTOCOL = 442, "Unsupported Transport Protocol"
    PEER_ADDRESS_FAMILY_MISMATCH = 443, "Peer Address Family Mismatch"
    ALLOCATION_QUOTA_REACHED = 486, "Allocation Quota Reached"
    INSUFFICIENT_CAPACITY = 508, "Insufficient Capacity"
    # RFC 8016
    MOBILITY_FORBIDDEN = 405, "Mobility Forbidden"
    # RFC 6062
    CONNECTION_ALREADY_EXISTS = 446, "Connection Already Exists"
    CONNECTION_TIMEOUT_OR_FAILURE = 447, "Connection Timeout or Failure"
    # RFC 8445
    ROLE_CONFLICT = 487, "Role Conflict"
