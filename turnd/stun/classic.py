"""What is left of RFC 3489, the STUN before the magic cookie: Binding, by UDP.

Its header is that of RFC 8489 with a transaction ID of 128 bits where cookie and transaction ID are
now, and `decode_untrusted` reads both. Its attributes are not in the registry's table any more: a
client that sends the cookie must not meet them.
"""

from __future__ import annotations

from turnd.stun.attribute_values import ADDRESS, MAGIC_COOKIE
from turnd.stun.attributes import Attribute
from turnd.stun.integrity import HEADER_SIZE

SOURCE_ADDRESS = Attribute(0x0004, "SOURCE-ADDRESS", ADDRESS.decode, ADDRESS.encode)
"""Where an answer was sent from (RFC 3489 section 11.2.5)."""
CHANGED_ADDRESS = Attribute(0x0005, "CHANGED-ADDRESS", ADDRESS.decode, ADDRESS.encode)
"""Where it would have come from with both flags of CHANGE-REQUEST (section 11.2.3)."""

_BINDING_REQUEST = b"\x00\x01"
_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")


def is_classic_binding_untrusted(data_untrusted: bytes) -> bool:
    """Whether a datagram has the header of a Binding request without cookie.

    That is little to go by, among bytes that are not STUN at all: type and length alone.
    """
    return (
        data_untrusted[:2] == _BINDING_REQUEST
        and len(data_untrusted) >= HEADER_SIZE
        and int.from_bytes(data_untrusted[2:4], "big") == len(data_untrusted) - HEADER_SIZE
        and not len(data_untrusted) % 4
        and data_untrusted[4:8] != _COOKIE
    )
