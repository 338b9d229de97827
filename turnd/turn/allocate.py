"""Allocate: the numbered steps of RFC 8656 section 7.2.

Step 1 (authentication) is behind us. What a step needs is checked before anything is opened; what
was opened is closed again when a later step fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from turnd.allocations.allocation import Relay, RelayedTransport
from turnd.allocations.quotas import QuotaRefusal
from turnd.allocations.reservations import Holder
from turnd.allocations.special_purpose import is_tunnelled
from turnd.engine.base import RelayError, RelayId
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily
from turnd.stun.errors import DecodeError, ErrorCode
from turnd.turn.answers import unknown_attributes
from turnd.turn.events import AllocationCreated
from turnd.turn.lifetime import desired_lifetime
from turnd.turn.mobility import asks_for_ticket
from turnd.turn.relay_addresses import Serves
from turnd.turn.request import Attributes, Refused, Request
from turnd.turn.turn_allocation import TurnAllocation

if TYPE_CHECKING:
    from turnd.allocations.reservations import Reservation
    from turnd.engine.base import Leg
    from turnd.turn.bandwidth import Buckets
    from turnd.turn.relay_addresses import OpenedRelay
    from turnd.turn.state import ServerState

_FAMILIES = (AddressFamily.IPV4, AddressFamily.IPV6)


class Wanted(NamedTuple):
    """What the client asks for, checked for contradictions."""

    families: tuple[AddressFamily, ...]
    token: bytes | None
    even_port: bool
    reserve_next: bool
    ticket: bool
    """To move with the allocation (RFC 8016)."""
    transport: RelayedTransport


class Outcome(NamedTuple):
    """What was opened for the client."""

    relays: tuple[Relay, ...]
    reservation: Reservation | None = None
    missing: tuple[AddressFamily, ErrorCode] | None = None
    """The family of a dual allocation that was not to be had, and why."""


def allocate(state: ServerState, request: Request) -> Attributes:
    """Create an allocation; a retransmission gets the answer that the first copy got."""
    existing = request.allocation
    if existing is not None:  # step 2
        owner = (existing.credential.owner, existing.realm)
        same_user = owner == (request.credential.owner, request.realm.name)
        if same_user and existing.transaction_id == request.message.transaction_id:
            return existing.answer
        raise Refused(ErrorCode.ALLOCATION_MISMATCH, "the five-tuple has an allocation")
    if is_tunnelled(request.leg.client.host):
        raise Refused(ErrorCode.FORBIDDEN, "the client's address is one of 6to4 or Teredo")
    wanted = _wanted(state, request)
    longest = request.credential.longest_lifetime(state.wall_clock())
    lifetime = desired_lifetime(request.message, state.settings, longest)
    _admit(state, request)
    user = request.credential.quota_user
    # A TCP allocation gets its buckets at once: its connections keep those that they began with.
    is_tcp = wanted.transport is RelayedTransport.TCP
    buckets = state.bandwidth.open(request.realm, user, without_limit=is_tcp)
    try:
        outcome = _open(state, request, wanted, request.now + lifetime, buckets)
    except Refused:
        state.bandwidth.close(request.realm, user, buckets)
        raise
    return _created(state, request, wanted, outcome, lifetime, buckets)


def _wanted(state: ServerState, request: Request) -> Wanted:
    """Steps 3 to 9, as far as they are about the request alone."""
    message = request.message
    transport = _transport(state, request)
    token = message.get(a.RESERVATION_TOKEN)
    reserve_next = message.get(a.EVEN_PORT)
    family = message.get(a.REQUESTED_ADDRESS_FAMILY)
    additional = message.get(a.ADDITIONAL_ADDRESS_FAMILY)
    if token is not None and not (reserve_next is family is additional is None):
        raise Refused(ErrorCode.BAD_REQUEST, "RESERVATION-TOKEN with a port or family")
    if family is not None and additional is not None:
        raise Refused(ErrorCode.BAD_REQUEST, "REQUESTED- with ADDITIONAL-ADDRESS-FAMILY")
    if reserve_next and additional is not None:
        raise Refused(ErrorCode.BAD_REQUEST, "EVEN-PORT's R with ADDITIONAL-ADDRESS-FAMILY")
    if additional is not None:
        if additional != AddressFamily.IPV6:
            raise Refused(ErrorCode.BAD_REQUEST, "ADDITIONAL-ADDRESS-FAMILY is not IPv6")
        families: tuple[AddressFamily, ...] = _FAMILIES
    else:
        asked = _default_family(state, request.leg) if family is None else family
        if token is None and not state.relays.serves(asked):
            raise Refused(ErrorCode.ADDRESS_FAMILY_NOT_SUPPORTED, f"address family {asked}")
        families = (AddressFamily.IPV6 if asked == AddressFamily.IPV6 else AddressFamily.IPV4,)
    if token is not None:
        reserved = state.table.reservations.find(token, _holder(request), request.now)
        families = families if reserved is None else (reserved.bound.family,)
    _check_dont_fragment(request, families)
    ticket = asks_for_ticket(state, message)
    if ticket and transport is RelayedTransport.TCP:
        raise Refused(
            ErrorCode.MOBILITY_FORBIDDEN, "connections stay with their control connection"
        )
    even, both = reserve_next is not None, bool(reserve_next)
    return Wanted(families, token, even, both, ticket, transport)


def _transport(state: ServerState, request: Request) -> RelayedTransport:
    """Step 3; TCP by TCP or TLS alone, and without what only datagrams have (RFC 6062 5.1)."""
    message = request.message
    try:
        asked = message.get(a.REQUESTED_TRANSPORT)
    except DecodeError:
        asked = None
    if asked is None:
        raise Refused(ErrorCode.BAD_REQUEST, "REQUESTED-TRANSPORT is missing or malformed")
    if asked == RelayedTransport.UDP:
        return RelayedTransport.UDP
    if asked != RelayedTransport.TCP or not state.settings.tcp:
        raise Refused(ErrorCode.UNSUPPORTED_TRANSPORT_PROTOCOL, f"transport {asked}")
    if not request.leg.transport.is_stream:
        raise Refused(ErrorCode.BAD_REQUEST, "a TCP allocation is asked for by UDP")
    for attribute in (a.DONT_FRAGMENT, a.EVEN_PORT, a.RESERVATION_TOKEN):
        if message.has(attribute):
            raise Refused(ErrorCode.BAD_REQUEST, f"{attribute.name} with a TCP allocation")
    return RelayedTransport.TCP


def _check_dont_fragment(request: Request, families: tuple[AddressFamily, ...]) -> None:
    """Step 4: a datagram's DF bit is not told by a socket, so from IPv4 to IPv6 it is lost (3.7).

    With relays of both families the attribute counts for the one of IPv4.
    """
    leg = request.leg
    translates = families == (AddressFamily.IPV6,) and leg.client.family is AddressFamily.IPV4
    if translates and not leg.transport.is_stream and request.message.has(a.DONT_FRAGMENT):
        raise unknown_attributes((a.DONT_FRAGMENT.number,))


def _default_family(state: ServerState, leg: Leg) -> AddressFamily:
    """What a client gets that names no family: IPv4, says step 7, unless the admin knows better."""
    family = state.settings.default_family
    if family is None:
        return leg.client.family if state.relays.serves(leg.client.family) else AddressFamily.IPV4
    return family


def _admit(state: ServerState, request: Request) -> None:
    """Steps 10 and 11: the server may always refuse or redirect."""
    if state.draining:
        raise state.redirection.draining(request)
    realm, user, host = (
        request.realm.name,
        request.credential.quota_user,
        request.leg.client.host,
    )
    refusal = state.table.quotas.admit(realm, user, host) or request.realm.quotas.admit(
        realm, user, host, request.credential.quota
    )
    code, why = ErrorCode.ALLOCATION_QUOTA_REACHED, f"quota: {refusal}"
    if refusal is QuotaRefusal.TOTAL:
        raise state.redirection.no_room(request, code, why)
    if refusal is not None:
        raise Refused(code, why)
    state.redirection.relieve(request, len(state.table))


def _open(
    state: ServerState, request: Request, wanted: Wanted, deadline: float, buckets: Buckets | None
) -> Outcome:
    serves = Serves(request.leg, deadline, buckets or (), wanted.transport)
    if wanted.token is not None:
        return _claim(state, request, wanted.token, serves)
    if wanted.reserve_next:
        return _open_pair(state, request, wanted.families[0], serves)
    return _open_each(state, request, wanted, serves)


def _claim(state: ServerState, request: Request, token: bytes, serves: Serves) -> Outcome:
    """Step 5: the relay that an earlier EVEN-PORT reserved."""
    reserved = state.table.reservations.claim(token, _holder(request), request.now)
    if reserved is None:
        raise Refused(ErrorCode.INSUFFICIENT_CAPACITY, "no such reservation")
    relay_id = RelayId(reserved.relay_id)
    state.engine.move(relay_id, request.leg, serves.deadline, serves.buckets)
    return Outcome((Relay(relay_id, reserved.bound, reserved.announced, serves.deadline),))


def _open_pair(
    state: ServerState, request: Request, family: AddressFamily, serves: Serves
) -> Outcome:
    """Step 8: an even port, and the next one held for 30 seconds."""
    holder, reservations = _holder(request), state.table.reservations
    if not reservations.has_room(holder):
        raise Refused(ErrorCode.INSUFFICIENT_CAPACITY, "too many reservations")
    pair = state.relays.open_pair(family, serves, request.now, request.now + reservations.lifetime)
    if isinstance(pair, RelayError):
        raise state.redirection.no_room(request, ErrorCode.INSUFFICIENT_CAPACITY, pair.value)
    first, second = pair
    reservation = reservations.add(
        holder, second.relay_id, second.bound, second.relayed, request.now
    )
    return Outcome((_relay(first, serves.deadline),), reservation)


def _holder(request: Request) -> Holder:
    credential = request.credential
    return Holder(request.realm.name, credential.owner, credential.quota_user)


def _open_each(state: ServerState, request: Request, wanted: Wanted, serves: Serves) -> Outcome:
    """Steps 7 and 9: one relay a family; of two families, one is better than none."""
    relays: list[Relay] = []
    missing: list[tuple[AddressFamily, ErrorCode]] = []
    reason = ""
    for family in wanted.families:
        if not state.relays.serves(family):
            missing.append((family, ErrorCode.ADDRESS_FAMILY_NOT_SUPPORTED))
            continue
        opened = state.relays.open(family, serves, request.now, even=wanted.even_port)
        if isinstance(opened, RelayError):
            missing.append((family, ErrorCode.INSUFFICIENT_CAPACITY))
            reason = opened.value
        else:
            relays.append(_relay(opened, serves.deadline))
    if not relays:
        why = reason or "no relay address"
        raise state.redirection.no_room(request, ErrorCode.INSUFFICIENT_CAPACITY, why)
    return Outcome(tuple(relays), missing=missing[0] if missing else None)


def _relay(opened: OpenedRelay, deadline: float) -> Relay:
    return Relay(opened.relay_id, opened.bound, opened.relayed, deadline)


def _created(
    state: ServerState,
    request: Request,
    wanted: Wanted,
    outcome: Outcome,
    lifetime: float,
    buckets: Buckets | None,
) -> Attributes:
    answer: list[tuple[a.Attribute[Any], Any]] = [
        (a.XOR_RELAYED_ADDRESS, relay.announced) for relay in outcome.relays
    ]
    answer.append((a.LIFETIME, int(lifetime)))
    if outcome.reservation is not None:
        answer.append((a.RESERVATION_TOKEN, outcome.reservation.token))
    answer.append((a.XOR_MAPPED_ADDRESS, request.leg.client))
    if outcome.missing is not None:
        family, code = outcome.missing
        answer.append((a.ADDRESS_ERROR_CODE, a.AddressErrorCodeValue(family, code, code.reason)))
    credential = request.credential
    allocation = TurnAllocation(
        leg=request.leg,
        client_host=request.leg.client.host,
        realm=request.realm.name,
        user=credential.user,
        quota_user=credential.quota_user,
        credential=credential,
        transaction_id=request.message.transaction_id,
        created_at=request.now,
        relays=outcome.relays,
        transport=wanted.transport,
        buckets=buckets,
    )
    if wanted.ticket:
        answer.append((a.MOBILITY_TICKET, state.tickets.issue(allocation)))
    allocation.answer = tuple(answer)
    state.table.add(allocation)
    if wanted.transport is RelayedTransport.TCP:
        state.listening |= {RelayId(relay.relay_id): allocation for relay in outcome.relays}
    request.realm.quotas.add(request.realm.name, credential.quota_user, request.leg.client.host)
    state.report(
        AllocationCreated(
            request.leg,
            credential.user,
            request.realm.name,
            tuple(relay.announced for relay in outcome.relays),
            lifetime,
        )
    )
    return allocation.answer
