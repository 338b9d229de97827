"""What can go wrong for a client, and whose word it is.

ClientError
├── StunError               the server answered with an error code
├── TransactionTimeoutError nobody answered in time
├── UnreachableError        the connection could not be made, or ended
│   └── UntrustedError      because of the server's certificate
├── NotInstalledError       a library is missing on our side
└── IntegrityError          an answer was not the server's, or was tampered with
    └── BidDownError        somebody tried to make us use a weaker algorithm
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnd.stun.message import Message


class ClientError(Exception):
    """Whatever keeps a client from what it asked for; the text is fit for people."""


class StunError(ClientError):
    """An error response (RFC 8489 section 6.3.4).

    Attributes:
        code: the STUN error code, 300 to 699; 0 when the response carries none.
        reason: the server's phrase, as sent.
        response: the whole answer, for what else it carries.
    """

    def __init__(self, code: int, reason: str, response: Message | None = None) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason
        self.response = response


class TransactionTimeoutError(ClientError):
    """No answer after all retransmissions (RFC 8489 section 6.2.1) or after Ti (6.2.2)."""


class UnreachableError(ClientError):
    """The connection was refused, reset or closed, or the network cannot reach the server."""


class UntrustedError(UnreachableError):
    """The server's certificate is expired, another's, or of nobody whom we trust."""


class NotInstalledError(ClientError):
    """A library that only this needs is not there."""


class IntegrityError(ClientError):
    """Answers came, but none that the password vouches for (RFC 8489 section 9.2.5)."""


class BidDownError(IntegrityError):
    """A challenge lacks the password algorithms that its nonce or an earlier one promised."""


def system_words(error: OSError) -> str:
    """The system's own phrase: asyncio replaces it by the address, OpenSSL by its source line."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return (error.strerror or str(error) or "the connection was lost").lower()
