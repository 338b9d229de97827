"""NAT behavior discovery: what a Binding says of a server with two hosts and ports (RFC 5780).

Rules
    1.  It is offered to who came to one of a quartet of endpoints. The answer then leaves from the
        one of the four that CHANGE-REQUEST asks for, and names it and the one across.
    2.  CHANGE-REQUEST, RESPONSE-PORT and PADDING are for UDP: by a stream an answer has no other
        way, and they are unknown (420).
    3.  No amplifier: who has not proven his address gets at most twice what he sent, at the IP
        level. What does not fit is left out, MAPPED-ADDRESS first, and PADDING is no longer than
        the request's.
    4.  No redirector: an answer goes to the host that the request came from. Who forges that
        address forges the port as well, and gains nothing by RESPONSE-PORT; who does not forge it
        reaches only ports of his own address (section 10). Others may share that address, behind
        one NAT: the ports of services, below 1024, are for who has a credential (403 without).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from turnd.engine.base import Leg, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress
from turnd.stun.errors import ErrorCode
from turnd.turn.answers import Answer, Elsewhere, fitting
from turnd.turn.request import Attributes, Refused
from turnd.turn.understood import UNDERSTOOD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turnd.stun.message import Message

LONGEST_PADDING = 1500
"""Bytes: the MTU of nearly every interface (section 7.6), beyond which an answer is fragmented."""

_FIRST_UNPRIVILEGED_PORT = 1024
_STAY, _ACROSS = a.ChangeRequest(False, False), a.ChangeRequest(True, True)
_UNDERSTOOD_BY_UDP = UNDERSTOOD | {
    a.CHANGE_REQUEST.number, a.PADDING.number, a.RESPONSE_PORT.number
}  # fmt: skip


class Host(NamedTuple):
    """One of a quartet's two hosts."""

    bound: str
    announced: str
    """As clients know it: another one behind 1:1 NAT."""


class Origin(NamedTuple):
    """Where an answer leaves from."""

    bound: ServerAddress
    announced: TransportAddress


@dataclass(frozen=True, slots=True)
class Quartet:
    """Four endpoints of one address family: either host with either port."""

    hosts: tuple[Host, Host]
    ports: tuple[int, int]
    """The primary and the alternate one."""
    transports: frozenset[Transport] = frozenset({Transport.UDP})
    """By which all four are served."""

    def serves(self, leg: Leg) -> bool:
        """Whether the client came to one of the four, without a proxy that answers go back by."""
        host, port = leg.local
        hosts = {each.bound for each in self.hosts}
        is_one = leg.transport in self.transports and host in hosts and port in self.ports
        return is_one and leg.via is None

    def origin(self, leg: Leg, change: a.ChangeRequest = _STAY) -> Origin:
        """Where an answer to such a leg leaves from (table 1 of section 6.1)."""
        host = self.hosts[(leg.local.host == self.hosts[1].bound) ^ change.change_ip]
        port = self.ports[(leg.local.port == self.ports[1]) ^ change.change_port]
        bound = ServerAddress(TransportAddress(host.bound, port))
        return Origin(bound, TransportAddress(host.announced, port))

    def across(self, leg: Leg) -> TransportAddress:
        """The other host with the other port: OTHER-ADDRESS, and CHANGED-ADDRESS of old."""
        return self.origin(leg, _ACROSS).announced


def quartet_of(quartets: Iterable[Quartet], leg: Leg) -> Quartet | None:
    """The quartet that a client came to one endpoint of."""
    return next((quartet for quartet in quartets if quartet.serves(leg)), None)


def understood(quartet: Quartet | None, leg: Leg) -> frozenset[int]:
    """The comprehension-required attributes of a Binding request that are acted on or ignored."""
    is_offered = quartet is not None and leg.transport is Transport.UDP
    return _UNDERSTOOD_BY_UDP if is_offered else UNDERSTOOD


def discovery_attributes(
    quartet: Quartet, leg: Leg, message: Message, *, proven: bool
) -> Attributes:
    """The attributes of a Binding success response (section 6.1).

    Args:
        quartet: which the client came to.
        leg: the client's.
        message: the request, without attributes that are not `understood`.
        proven: whether the address is the client's beyond doubt: a credential came with it.

    Raises:
        DecodeError: an attribute is malformed.
        Refused: with 400 or 403.
    """
    padding = message.get(a.PADDING)
    _check_port(message, leg, proven=proven)
    attributes: list[tuple[a.Attribute[Any], Any]] = [(a.XOR_MAPPED_ADDRESS, leg.client)]
    if padding is not None:
        size = LONGEST_PADDING if proven else min(len(padding), LONGEST_PADDING)
        attributes.append((a.PADDING, bytes(size)))
    origin = quartet.origin(leg, message.get(a.CHANGE_REQUEST) or _STAY)
    attributes += (
        (a.OTHER_ADDRESS, quartet.across(leg)),
        (a.RESPONSE_ORIGIN, origin.announced),
        (a.MAPPED_ADDRESS, leg.client),
    )
    return attributes if proven else fitting(attributes, message, leg)


def _check_port(message: Message, leg: Leg, *, proven: bool) -> None:
    port = message.get(a.RESPONSE_PORT)
    if port is None:
        return
    if message.has(a.PADDING):
        raise Refused(ErrorCode.BAD_REQUEST, "RESPONSE-PORT together with PADDING")
    if not port:
        raise Refused(ErrorCode.BAD_REQUEST, "RESPONSE-PORT 0")
    if port < _FIRST_UNPRIVILEGED_PORT and port != leg.client.port and not proven:
        raise Refused(ErrorCode.FORBIDDEN, f"RESPONSE-PORT {port} without a credential")


def sent_as_asked(quartet: Quartet | None, leg: Leg, message: Message, data: bytes) -> Answer:
    """A success response on the way that CHANGE-REQUEST and RESPONSE-PORT ask for.

    The request is one that a quartet's answer was made for, or that came to none.
    """
    change, port = message.get(a.CHANGE_REQUEST) or _STAY, message.get(a.RESPONSE_PORT)
    if quartet is None or (change == _STAY and port is None):
        return data
    client = leg.client if port is None else ClientAddress(leg.client._replace(port=port))
    return Elsewhere(data, leg._replace(client=client), quartet.origin(leg, change).bound)
