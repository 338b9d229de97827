"""A nonce that a server gives a client for the server that it sends it to.

Who is redirected (RFC 8489 section 10) repeats the request at another server, to which the first
one's nonce means nothing: 438, and the client begins anew. libwebrtc, and so every browser, knows
no 438 to an Allocate and gives up; but it takes the NONCE of the 300 along. This is one that the
other server can judge without ever having heard of the first: both know the user.

It is good for one thing, a first Allocate, from one host, for a minute or two, by the clocks of
both. What it does less than a nonce of the server's own
    1.  It is made with what servers share and the client does not know, the secret or the token's
        key. Of a user with a password of his own they share nothing else, so he can make one, and
        ask for allocations in the name of a host that he forges. They count for his quota, and he
        can do nothing with them: all else takes a nonce of the server's own.
    2.  It holds at all ports of the host. Who has overheard the Allocate, and sends from that host,
        can repeat it from another port meanwhile, to the same end.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hmac import compare_digest
from typing import TYPE_CHECKING

from turnd.stun.keyed_hash import keyed_hash

if TYPE_CHECKING:
    from turnd.auth.credentials import Credential
    from turnd.stun.integrity import Integrity

PREFIX = "passed."
TICK = 60.0
"""Seconds; a nonce is good in its own tick and the next, and one early, since clocks differ."""
_MAC_LENGTH = 22  # characters of 6 bits


def mint_passed_nonce(
    credential: Credential, integrity: Integrity, host: str, wall_now: float
) -> str:
    """A nonce for whoever has a credential, at a host.

    Args:
        credential: the client's.
        integrity: what it signs with.
        host: the client's, as both servers see it.
        wall_now: unix seconds.
    """
    return _nonce(credential, integrity, host, int(wall_now // TICK))


def is_passed_nonce(
    nonce: str, credential: Credential, integrity: Integrity, host: str, wall_now: float
) -> bool:
    """Whether a nonce is one of those, and good now; any text is judged, none raises."""
    if not nonce.startswith(PREFIX):
        return False
    tick, sent = int(wall_now // TICK), nonce.encode()
    return any(
        compare_digest(sent, _nonce(credential, integrity, host, each).encode())
        for each in (tick, tick - 1, tick + 1)
    )


def _nonce(credential: Credential, integrity: Integrity, host: str, tick: int) -> str:
    # A key of its own: the others also sign messages and user names.
    key = keyed_hash(credential.shared or integrity.key, PREFIX.encode(), "sha256")
    text = f"{tick} {host} {credential.quota_user}"
    mac = urlsafe_b64encode(keyed_hash(key, text.encode(), "sha256")).decode()
    return f"{PREFIX}{tick}.{mac[:_MAC_LENGTH]}"
