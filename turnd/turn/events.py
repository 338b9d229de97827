"""What happened, told as plain values to whoever logs, counts or bills.

The core calls one sink with one of these and knows nothing of logs or metrics. Names of users
come from clients: whoever shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from turnd.engine.base import Leg
    from turnd.stun.addresses import PeerAddress, RelayedAddress
    from turnd.stun.errors import ErrorCode


class FailureReason(StrEnum):
    """Why an authentication failed; the label of `turnd_auth_failures_total`."""

    UNKNOWN_USER = "unknown_user"
    BAD_INTEGRITY = "bad_integrity"  # wrong password or secret
    BAD_TOKEN = "bad_token"  # noqa: S105 - not sealed with its key for this server
    EXPIRED = "expired"  # the credential's own date has passed
    WRONG_REALM = "wrong_realm"
    BAD_ALGORITHM = "bad_algorithm"  # PASSWORD-ALGORITHM(S) are not what was offered
    STORE_UNAVAILABLE = "store_unavailable"  # the user may exist, but Redis does not answer


class EndReason(StrEnum):
    """Why an allocation ended; the label of `turnd_allocations_ended_total`."""

    DELETED = "deleted"  # the client's Refresh with lifetime 0
    EXPIRED = "expired"
    DISCONNECTED = "disconnected"  # its stream closed
    SHUTDOWN = "shutdown"


class Challenged(NamedTuple):
    """A first request got its 401: the normal start of every handshake."""

    leg: Leg


class BindingAnswered(NamedTuple):
    """A Binding request got its answer."""

    leg: Leg


class AuthenticationFailed(NamedTuple):
    """Credentials came with a valid nonce and did not hold."""

    leg: Leg
    user: str
    realm: str
    reason: FailureReason


class Authenticated(NamedTuple):
    """A request's credentials held; told for streams only, which may now stay."""

    leg: Leg


class AllocationCreated(NamedTuple):
    """An Allocate succeeded."""

    leg: Leg
    user: str
    realm: str
    relayed: tuple[RelayedAddress, ...]
    lifetime: float


class AllocationMoved(NamedTuple):
    """An allocation has followed its client to another five-tuple."""

    leg: Leg
    user: str
    realm: str
    former: Leg
    """Where it was before."""


class AllocationEnded(NamedTuple):
    """The last relayed transport address of an allocation is gone."""

    leg: Leg
    user: str
    realm: str
    reason: EndReason
    duration: float
    """Seconds since it was created."""


class ConnectionEnd(StrEnum):
    """Why a peer's connection ended; the label of `turnd_peer_connections_ended_total`."""

    CLIENT = "client"  # the client closed its data connection, or it failed
    PEER = "peer"  # the peer closed its connection, or it failed
    UNBOUND = "unbound"  # no ConnectionBind came for it in time
    ALLOCATION = "allocation"  # its allocation ended
    FORBIDDEN = "forbidden"  # a new peer policy refuses it
    SERVER = "server"  # the engine could not take it over, or ended the client's stream


class PeerRefusal(StrEnum):
    """Why a peer's connection was not let in; a label of `turnd_peer_connections_refused_total`."""

    NO_PERMISSION = "no_permission"
    FORBIDDEN = "forbidden"
    FULL = "full"


class ConnectionOpened(NamedTuple):
    """A connection with a peer stands, for the client to bind (RFC 6062)."""

    leg: Leg
    user: str
    realm: str
    peer: PeerAddress
    is_incoming: bool
    """Whether the peer made it."""


class ConnectionRefused(NamedTuple):
    """A peer's connection was closed as soon as it came."""

    leg: Leg
    user: str
    realm: str
    peer: PeerAddress
    reason: PeerRefusal


class ConnectionEnded(NamedTuple):
    """A connection with a peer that stood has ended."""

    leg: Leg
    user: str
    realm: str
    peer: PeerAddress
    reason: ConnectionEnd
    duration: float
    """Seconds since it was asked for, or came in."""


class RequestRefused(NamedTuple):
    """An authenticated request got an error response."""

    leg: Leg
    user: str
    realm: str
    method: int
    code: ErrorCode
    why: str


class Dropped(StrEnum):
    """Why a message got no answer at all; a label of `turnd_requests_dropped_total`."""

    MALFORMED = "malformed"
    UNKNOWN_METHOD = "unknown_method"
    OVER_BUDGET = "over_budget"  # too many unauthenticated answers to that network
    WAITING_FULL = "waiting_full"  # too many requests wait for a credential store


class MessageDropped(NamedTuple):
    """A message was not answered."""

    leg: Leg
    reason: Dropped


Event = (
    Challenged
    | BindingAnswered
    | AuthenticationFailed
    | Authenticated
    | AllocationCreated
    | AllocationMoved
    | AllocationEnded
    | ConnectionOpened
    | ConnectionRefused
    | ConnectionEnded
    | RequestRefused
    | MessageDropped
)
Sink = Callable[[Event], None]
