"""The comprehension-required attributes that this server acts on or may ignore.

All others in a request are answered with 420 (RFC 8489 section 6.3.1): being in the registry is
not enough, a CHANGE-REQUEST that is ignored would mislead the client.
"""

from __future__ import annotations

from turnd.stun import attributes as a

UNDERSTOOD: frozenset[int] = frozenset(
    attribute.number
    for attribute in (
        # RFC 8489
        a.MAPPED_ADDRESS,
        a.USERNAME,
        a.MESSAGE_INTEGRITY,
        a.ERROR_CODE,
        a.UNKNOWN_ATTRIBUTES,
        a.REALM,
        a.NONCE,
        a.MESSAGE_INTEGRITY_SHA256,
        a.PASSWORD_ALGORITHM,
        a.USERHASH,
        a.XOR_MAPPED_ADDRESS,
        # RFC 8656
        a.CHANNEL_NUMBER,
        a.LIFETIME,
        a.XOR_PEER_ADDRESS,
        a.DATA,
        a.XOR_RELAYED_ADDRESS,
        a.REQUESTED_ADDRESS_FAMILY,
        a.EVEN_PORT,
        a.REQUESTED_TRANSPORT,
        a.DONT_FRAGMENT,
        a.RESERVATION_TOKEN,
        # RFC 6062
        a.CONNECTION_ID,
    )
)

UNDERSTOOD_WITH_TOKENS = UNDERSTOOD | {a.ACCESS_TOKEN.number}
"""In a realm where third parties let clients in (RFC 7635 section 7), and for whom they have."""
