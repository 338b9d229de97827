"""A nonce that a server gives a client for the server that it sends it to.

Who is redirected (RFC 8489 section 10) repeats the request at another server, to which the first
one's nonce means nothing: 438, and the client begins anew. libwebrtc, and so every browser, knows
no 438 to an Allocate and gives up; but it takes the NONCE of the 300 along. This is one that the
other server can judge without ever having heard of the first: both know the user's key.

It is good for one thing, a first Allocate, from one host, for a minute or two, by the clocks of
both. Who knows the key could make one for himself, and would gain the right to skip a round trip.
What a nonce is for, it does within that time: nobody else can make one, and who repeats a recorded
request from that host gets an allocation of the user's that he cannot use, since all else is asked
for with a nonce of the server's own.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hmac import compare_digest

from turnd.stun.keyed_hash import keyed_hash

PREFIX = "passed."
TICK = 60.0
"""Seconds; a nonce is good in its own tick and the next, and one early, since clocks differ."""
_MAC_LENGTH = 22  # characters of 6 bits


def mint_passed_nonce(key: bytes, host: str, wall_now: float) -> str:
    """A nonce for whoever has a key, at a host.

    Args:
        key: the one that the client signs with.
        host: the client's, as both servers see it.
        wall_now: unix seconds.
    """
    return _nonce(key, host, int(wall_now // TICK))


def is_passed_nonce(nonce: str, key: bytes, host: str, wall_now: float) -> bool:
    """Whether a nonce is one of those, and good now; any text is judged, none raises."""
    if not nonce.startswith(PREFIX):
        return False
    tick, sent = int(wall_now // TICK), nonce.encode()
    return any(
        compare_digest(sent, _nonce(key, host, each).encode())
        for each in (tick, tick - 1, tick + 1)
    )


def _nonce(key: bytes, host: str, tick: int) -> str:
    mac = keyed_hash(key, f"{PREFIX}{tick} {host}".encode(), "sha256")
    return f"{PREFIX}{tick}.{urlsafe_b64encode(mac).decode()[:_MAC_LENGTH]}"
