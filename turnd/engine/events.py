"""Whom the engine speaks of and what it tells: handles, legs, and the events that `poll` gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, NewType

if TYPE_CHECKING:
    from turnd.stun.addresses import ClientAddress, ServerAddress

ListenerId = NewType("ListenerId", int)
RelayId = NewType("RelayId", int)
BucketId = NewType("BucketId", int)
"""A token bucket. Whoever names it in `limit` and `open_relay` chooses the number."""


class Transport(StrEnum):
    """What a client talks to us by."""

    # No properties: every request asks for them.
    is_stream: bool
    """Whether messages arrive framed in a byte stream."""
    is_connection: bool
    """Whether a leg begins with `LegOpened` and ends with `LegClosed`: its client has proven that
    it is at its address."""

    UDP = "udp"
    DTLS = "dtls"
    TCP = "tcp"
    TLS = "tls"

    def __init__(self, value: str) -> None:
        self.is_stream = value in {"tcp", "tls"}
        self.is_connection = value != "udp"


class Leg(NamedTuple):
    """The client's side of a five-tuple; hashable and the key of an allocation.

    `stream` is 0 for UDP. It tells a connection (a stream, a DTLS session) from a later one with
    the same addresses.
    """

    listener: ListenerId
    transport: Transport
    local: ServerAddress
    client: ClientAddress
    stream: int = 0
    via: ClientAddress | None = None
    """The proxy whose datagrams begin with a header that names the client: where answers go."""


class CloseReason(StrEnum):
    """Why a connection ended; the label of `turnd_streams_closed_total`."""

    CLIENT = "client"  # the client closed or reset the connection, or began another in its place
    PEER = "peer"  # the peer did, with which the stream was spliced (RFC 6062)
    GARBAGE = "garbage"  # neither STUN nor ChannelData where a frame begins
    FRAME_TIMEOUT = "frame_timeout"  # a frame trickled in for longer than the deadline
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    HANDSHAKE_FAILED = "handshake_failed"
    UNAUTHENTICATED = "unauthenticated"  # no authenticated request within the deadline
    IDLE = "idle"  # DTLS: no relay, and nothing came for so long
    SERVER = "server"  # shutdown or an admin's order


class ClientMessage(NamedTuple):
    """A STUN message (by its first two bits) for Python to decide on. Untrusted."""

    leg: Leg
    data: bytes


@dataclass(frozen=True, slots=True)
class LegOpened:
    """A connection is ready: at once for TCP, after the handshake for TLS and DTLS."""

    leg: Leg
    server_name: str | None = None
    """Whom the client asked for (SNI, RFC 6066 section 3): lower case, without a final dot. None:
    nobody, or no TLS."""


@dataclass(frozen=True, slots=True)
class LegClosed:
    """A connection has ended. Comes also for a failed handshake.

    Its relays are there and serve nobody: they are to be closed, or given to another leg.
    """

    leg: Leg
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class MediaWaiting:
    """A leg that is held back has sent its first ChannelData or Send indication."""

    leg: Leg


Event = ClientMessage | LegOpened | LegClosed | MediaWaiting
