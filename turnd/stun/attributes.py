"""Every attribute that IANA lists for STUN and TURN: the one table.

To be listed is not to be understood: which comprehension-required attributes a server acts on is
its own affair (`Message.unknown_required`). Numbers that are not listed stay open: `raw` makes an
attribute of any of them. Values whose format is not ours to judge are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from turnd.stun import attribute_values as values
from turnd.stun.attribute_values import (
    AddressErrorCodeValue,
    ChangeRequest,
    ErrorCodeValue,
    IcmpValue,
    PasswordAlgorithmEntry,
    TransmitCounter,
)
from turnd.stun.codec import DOMAIN, EVEN_PORT_FLAG, FLAG, Codec, opaque, text, unsigned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ATTRIBUTES",
    "AddressErrorCodeValue",
    "Attribute",
    "ChangeRequest",
    "ErrorCodeValue",
    "IcmpValue",
    "PasswordAlgorithmEntry",
    "TransmitCounter",
    "raw",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attribute(Generic[T]):
    """One kind of attribute, with values of type T."""

    number: int
    name: str
    """As the RFC spells it."""
    decode: Callable[[bytes, bytes], T]
    """(value, transaction_id) to T; raises DecodeError."""
    encode: Callable[[Any, bytes], bytes]
    """(T, transaction_id) to the value; raises ValueError."""

    @property
    def comprehension_required(self) -> bool:
        """Whether a request with it fails where it is not understood (RFC 8489 section 14)."""
        return self.number < 0x8000


_table: dict[int, Attribute[Any]] = {}


def _listed(number: int, name: str, codec: Codec[T]) -> Attribute[T]:
    attribute = Attribute(number, name, codec.decode, codec.encode)
    _table[number] = attribute
    return attribute


def raw(number: int) -> Attribute[bytes]:
    """An attribute of any number, listed or not, whose value is just bytes."""
    codec = opaque()
    return Attribute(number, f"{number:#06x}", codec.decode, codec.encode)


# RFC 8489
MAPPED_ADDRESS = _listed(0x0001, "MAPPED-ADDRESS", values.ADDRESS)
USERNAME = _listed(0x0006, "USERNAME", text(largest_sent=508, characters=509))
MESSAGE_INTEGRITY = _listed(0x0008, "MESSAGE-INTEGRITY", opaque(20, 20))
ERROR_CODE = _listed(0x0009, "ERROR-CODE", values.ERROR)
UNKNOWN_ATTRIBUTES = _listed(0x000A, "UNKNOWN-ATTRIBUTES", values.ATTRIBUTE_TYPES)
REALM = _listed(0x0014, "REALM", text())
NONCE = _listed(0x0015, "NONCE", text())
MESSAGE_INTEGRITY_SHA256 = _listed(0x001C, "MESSAGE-INTEGRITY-SHA256", opaque(16, 32, 4))
PASSWORD_ALGORITHM = _listed(0x001D, "PASSWORD-ALGORITHM", values.ALGORITHM)
USERHASH = _listed(0x001E, "USERHASH", opaque(32, 32))
XOR_MAPPED_ADDRESS = _listed(0x0020, "XOR-MAPPED-ADDRESS", values.XOR_ADDRESS)
PASSWORD_ALGORITHMS = _listed(0x8002, "PASSWORD-ALGORITHMS", values.ALGORITHMS)
ALTERNATE_DOMAIN = _listed(0x8003, "ALTERNATE-DOMAIN", DOMAIN)
SOFTWARE = _listed(0x8022, "SOFTWARE", text())
ALTERNATE_SERVER = _listed(0x8023, "ALTERNATE-SERVER", values.ADDRESS)
FINGERPRINT = _listed(0x8028, "FINGERPRINT", unsigned(4))

# RFC 8656. Families and protocols stay numbers: one that is not supported has its own error code.
CHANNEL_NUMBER = _listed(0x000C, "CHANNEL-NUMBER", unsigned(2, reserved=2))
LIFETIME = _listed(0x000D, "LIFETIME", unsigned(4))
XOR_PEER_ADDRESS = _listed(0x0012, "XOR-PEER-ADDRESS", values.XOR_ADDRESS)
DATA = _listed(0x0013, "DATA", opaque())
XOR_RELAYED_ADDRESS = _listed(0x0016, "XOR-RELAYED-ADDRESS", values.XOR_ADDRESS)
REQUESTED_ADDRESS_FAMILY = _listed(0x0017, "REQUESTED-ADDRESS-FAMILY", unsigned(1, reserved=3))
EVEN_PORT = _listed(0x0018, "EVEN-PORT", EVEN_PORT_FLAG)
REQUESTED_TRANSPORT = _listed(0x0019, "REQUESTED-TRANSPORT", unsigned(1, reserved=3))
DONT_FRAGMENT = _listed(0x001A, "DONT-FRAGMENT", FLAG)
RESERVATION_TOKEN = _listed(0x0022, "RESERVATION-TOKEN", opaque(8, 8))
ADDITIONAL_ADDRESS_FAMILY = _listed(0x8000, "ADDITIONAL-ADDRESS-FAMILY", unsigned(1, reserved=3))
ADDRESS_ERROR_CODE = _listed(0x8001, "ADDRESS-ERROR-CODE", values.ADDRESS_ERROR)
ICMP = _listed(0x8004, "ICMP", values.ICMP_ERROR)

# RFC 6062, TCP relaying
CONNECTION_ID = _listed(0x002A, "CONNECTION-ID", unsigned(4))

# RFC 7635, third-party authorization
ACCESS_TOKEN = _listed(0x001B, "ACCESS-TOKEN", opaque())
THIRD_PARTY_AUTHORIZATION = _listed(0x802E, "THIRD-PARTY-AUTHORIZATION", text())

# RFC 8016, mobility: empty when it asks for a ticket
MOBILITY_TICKET = _listed(0x8030, "MOBILITY-TICKET", opaque())

# RFC 5780, NAT behavior discovery
CHANGE_REQUEST = _listed(0x0003, "CHANGE-REQUEST", values.CHANGES)
PADDING = _listed(0x0026, "PADDING", opaque())
RESPONSE_PORT = _listed(0x0027, "RESPONSE-PORT", unsigned(2, reserved=2))
CACHE_TIMEOUT = _listed(0x8027, "CACHE-TIMEOUT", unsigned(4))
RESPONSE_ORIGIN = _listed(0x802B, "RESPONSE-ORIGIN", values.ADDRESS)
OTHER_ADDRESS = _listed(0x802C, "OTHER-ADDRESS", values.ADDRESS)

# RFC 8445, ICE
PRIORITY = _listed(0x0024, "PRIORITY", unsigned(4))
USE_CANDIDATE = _listed(0x0025, "USE-CANDIDATE", FLAG)
ICE_CONTROLLED = _listed(0x8029, "ICE-CONTROLLED", unsigned(8))
ICE_CONTROLLING = _listed(0x802A, "ICE-CONTROLLING", unsigned(8))

# RFC 7982 and RFC 6679
TRANSACTION_TRANSMIT_COUNTER = _listed(0x8025, "TRANSACTION_TRANSMIT_COUNTER", values.TRANSMISSIONS)
ECN_CHECK = _listed(0x802D, "ECN-CHECK STUN", opaque())

# draft-johnston-tram-stun-origin: never registered, but clients send it
ORIGIN = _listed(0x802F, "ORIGIN", text())

# Registered by vendors
CISCO_STUN_FLOWDATA = _listed(0xC000, "CISCO-STUN-FLOWDATA", opaque())
ENF_FLOW_DESCRIPTION = _listed(0xC001, "ENF-FLOW-DESCRIPTION", opaque())
ENF_NETWORK_STATUS = _listed(0xC002, "ENF-NETWORK-STATUS", opaque())
GOOG_NETWORK_INFO = _listed(0xC057, "GOOG-NETWORK-INFO", opaque())
GOOG_LAST_ICE_CHECK_RECEIVED = _listed(0xC058, "GOOG-LAST-ICE-CHECK-RECEIVED", opaque())
GOOG_MISC_INFO = _listed(0xC059, "GOOG-MISC-INFO", opaque())
GOOG_OBSOLETE_1 = _listed(0xC05A, "GOOG-OBSOLETE-1", opaque())
GOOG_CONNECTION_ID = _listed(0xC05B, "GOOG-CONNECTION-ID", opaque())
GOOG_DELTA = _listed(0xC05C, "GOOG-DELTA", opaque())
GOOG_DELTA_ACK = _listed(0xC05D, "GOOG-DELTA-ACK", opaque())
GOOG_DELTA_SYNC_REQ = _listed(0xC05E, "GOOG-DELTA-SYNC-REQ", opaque())
GOOG_MESSAGE_INTEGRITY_32 = _listed(0xC060, "GOOG-MESSAGE-INTEGRITY-32", opaque())
META_DTLS_IN_STUN = _listed(0xC070, "META-DTLS-IN-STUN", opaque())
META_DTLS_IN_STUN_ACKNOWLEDGEMENT = _listed(0xC071, "META-DTLS-IN-STUN-ACKNOWLEDGEMENT", opaque())

ATTRIBUTES: Mapping[int, Attribute[Any]] = MappingProxyType(_table)
"""By number."""
