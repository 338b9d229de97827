"""Try Alternate (300): sending a client to where it is better served (RFC 8489 section 10).

Rules
    1.  Only a new allocation is redirected, and only where the request is authenticated, so that
        the answer is signed. What lives goes on here.
    2.  Where there is no room, which the server alone is to blame for (it ends, its total is
        reached, its ports or descriptors ran out), a redirect takes the place of the error. Where
        there is too much to do (`When`), it takes the place of the allocation, for those that can
        be expected to follow: by TLS and DTLS who signs with SHA-256. Browsers do not, and check
        the other server's certificate for its address, having forgotten the name.
    3.  Who is over a limit of his own would be so elsewhere, and a reservation is nowhere else.
    4.  Who was redirected already, here or elsewhere, or for whom there is no alternate that lives
        and has an address of the client's family, is served here, or gets the error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from turnd.engine.base import Transport
from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode
from turnd.stun.integrity import IntegrityAlgorithm
from turnd.turn.redirect_memory import RedirectMemory
from turnd.turn.request import Attributes, Refused, Request

if TYPE_CHECKING:
    from turnd.engine.base import Leg
    from turnd.stun.addresses import AddressFamily, TransportAddress

_WITH_CERTIFICATE = (Transport.TLS, Transport.DTLS)


class Alternate(NamedTuple):
    """One address of another server."""

    address: TransportAddress
    """Port 0: the one that the client came to here."""
    domain: str = ""
    """The name in its certificate; empty: the same as ours."""


class When(NamedTuple):
    """When new allocations are redirected beside those that there is no room for."""

    allocations: int = 0
    """From so many on; 0: whatever their number."""
    bits_per_second: int = 0
    """While more are relayed; 0: however many."""
    draining: bool = True
    """Whether who comes while the server ends is redirected, or refused."""


@dataclass(slots=True)
class Redirection:
    """What is known of the other servers, and of how much there is to do here."""

    alternates: tuple[Alternate, ...] = ()
    """Those that live."""
    when: When = field(default_factory=When)
    bits_per_second: float = 0
    """What is being relayed."""
    memory: RedirectMemory = field(default_factory=RedirectMemory)
    _turns: dict[AddressFamily, int] = field(default_factory=dict)

    def overload(self, allocations: int) -> str:
        """Why a new allocation is better made elsewhere; empty: it is not."""
        when = self.when
        if when.allocations and allocations >= when.allocations:
            return f"redirect.when: {allocations} allocations"
        if when.bits_per_second and self.bits_per_second > when.bits_per_second:
            return f"redirect.when: {round(self.bits_per_second)} bit/s"
        return ""

    def relieve(self, request: Request, allocations: int) -> None:
        """Redirect a new allocation where there is too much to do already.

        Raises:
            Refused: with 300.
        """
        why = self.overload(allocations)
        attributes = self._choose(request) if why and _follows(request) else None
        if attributes is not None:
            raise Refused(ErrorCode.TRY_ALTERNATE, why, attributes)

    def no_room(self, request: Request, code: ErrorCode, why: str) -> Refused:
        """A redirect with `why`, or the plain error."""
        attributes = self._choose(request)
        if attributes is None:
            return Refused(code, why)
        return Refused(ErrorCode.TRY_ALTERNATE, why, attributes)

    def draining(self, request: Request) -> Refused:
        """What a new client gets while the server ends."""
        code, why = ErrorCode.INSUFFICIENT_CAPACITY, "draining"
        return self.no_room(request, code, why) if self.when.draining else Refused(code, why)

    def _choose(self, request: Request) -> Attributes | None:
        """Where to send the client; None: nowhere."""
        if not self.alternates or request.sent_here or request.message.has(a.RESERVATION_TOKEN):
            return None
        sent = self.memory.of(request)
        if sent is not None:
            same = sent.transaction_id == request.message.transaction_id
            return sent.attributes if same else None
        attributes = self._attributes(request) if self.memory.admits(request) else None
        if attributes is not None:
            self.memory.add(request, attributes)
        return attributes

    def _attributes(self, request: Request) -> Attributes | None:
        """An address of the client's family, which there must be, then one of the other."""
        leg = request.leg
        family = leg.client.family
        same = [each for each in self.alternates if each.address.family is family]
        if not same:
            return None
        turn = self._turns[family] = self._turns.get(family, -1) + 1
        first = same[turn % len(same)]
        # Both belong to one server: there is one ALTERNATE-DOMAIN for them.
        other = [
            each
            for each in self.alternates
            if each.address.family is not family and each.domain == first.domain
        ]
        chosen = [first, *(other[turn % len(other)] for _ in other[:1])]
        attributes: list[tuple[a.Attribute[Any], Any]] = [
            (a.ALTERNATE_SERVER, _address(each, leg)) for each in chosen
        ]
        if first.domain and leg.transport in _WITH_CERTIFICATE and _knows_domains(request):
            attributes.append((a.ALTERNATE_DOMAIN, first.domain))
        return tuple(attributes)


def _follows(request: Request) -> bool:
    return request.leg.transport not in _WITH_CERTIFICATE or _knows_domains(request)


def _knows_domains(request: Request) -> bool:
    """Whether it is from a client of RFC 8489 (section 10)."""
    return request.integrity.algorithm is IntegrityAlgorithm.SHA256


def _address(alternate: Alternate, leg: Leg) -> TransportAddress:
    address = alternate.address
    return address._replace(port=address.port or leg.local.port)
