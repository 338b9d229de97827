"""Try Alternate (300): where a client is sent that finds no room here (RFC 8489 section 10).

A redirect takes the place of an error that the server alone is to blame for: it ends, its total is
reached, its ports or descriptors ran out. Who is over a limit of his own would be so elsewhere, and
a reservation is nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode
from turnd.turn.request import Refused, Request

if TYPE_CHECKING:
    from turnd.engine.base import Leg
    from turnd.stun.addresses import TransportAddress
    from turnd.turn.settings import TurnSettings


def no_room(settings: TurnSettings, request: Request, code: ErrorCode, why: str) -> Refused:
    """A redirect with `why`; the plain error where no alternate serves such a client."""
    found = _alternates(settings, request.leg, request.message.transaction_id)
    if not found or request.message.has(a.RESERVATION_TOKEN):
        return Refused(code, why)
    return Refused(
        ErrorCode.TRY_ALTERNATE, why, tuple((a.ALTERNATE_SERVER, address) for address in found)
    )


def _alternates(
    settings: TurnSettings, leg: Leg, transaction_id: bytes
) -> tuple[TransportAddress, ...]:
    """One of the client's address family, which there must be, then one of the other.

    Among several the transaction ID, which is random, picks one: clients spread.
    """
    here = leg.local.port
    everywhere = [each._replace(port=each.port or here) for each in settings.alternates]
    same = [address for address in everywhere if address.family is leg.client.family]
    other = [address for address in everywhere if address.family is not leg.client.family]
    if not same:
        return ()
    return tuple(each[transaction_id[-1] % len(each)] for each in (same, other) if each)
