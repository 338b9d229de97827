"""What an Allocate asks for, and what it gets (RFC 8656 sections 7.1 and 7.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from turnd.client.answers import read, read_all
from turnd.client.errors import ClientError
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, RelayedAddress, TransportAddress

if TYPE_CHECKING:
    from turnd.stun.attributes import Attribute
    from turnd.stun.message import Attributes, Message

UDP = 17
"""The protocol number that REQUESTED-TRANSPORT asks for."""
TCP = 6
"""The other one (RFC 6062)."""


class AllocateWishes(TypedDict, total=False):
    """What an Allocate may ask for; each becomes the attribute of that name."""

    family: AddressFamily
    additional_family: AddressFamily
    even_port: bool
    """True: reserve the next higher port as well (the R bit)."""
    reservation_token: bytes
    lifetime: int
    dont_fragment: bool
    transport: int
    """REQUESTED-TRANSPORT, 17 unless said otherwise."""
    mobility: bool
    """True: to `move` with the allocation (RFC 8016)."""


_WITH_VALUES: dict[str, Attribute[Any]] = {
    "family": a.REQUESTED_ADDRESS_FAMILY,
    "additional_family": a.ADDITIONAL_ADDRESS_FAMILY,
    "even_port": a.EVEN_PORT,
    "reservation_token": a.RESERVATION_TOKEN,
    "lifetime": a.LIFETIME,
}


def wished(wishes: AllocateWishes) -> Attributes:
    """The attributes of an Allocate with these wishes."""
    attributes: list[tuple[Attribute[Any], Any]] = [
        (a.REQUESTED_TRANSPORT, wishes.get("transport", UDP))
    ]
    attributes += [
        (attribute, wishes[key])  # type: ignore[literal-required] # keys of AllocateWishes
        for key, attribute in _WITH_VALUES.items()
        if key in wishes
    ]
    if wishes.get("dont_fragment"):
        attributes.append((a.DONT_FRAGMENT, True))
    if wishes.get("mobility"):
        attributes.append((a.MOBILITY_TICKET, b""))
    return attributes


@dataclass(frozen=True, slots=True)
class Allocated:
    """What an Allocate has got.

    Attributes:
        relayed: the relayed transport addresses, one a family.
        mapped: the client's address as the server sees it.
        lifetime: seconds.
        reservation_token: of the next higher port, where one was reserved.
        response: the whole answer.
    """

    relayed: tuple[RelayedAddress, ...]
    mapped: TransportAddress | None
    lifetime: int
    reservation_token: bytes | None
    response: Message

    def relayed_for(self, family: AddressFamily) -> RelayedAddress | None:
        """The relayed transport address of a family."""
        return next((each for each in self.relayed if each.family == family), None)


def allocated(response: Message) -> Allocated:
    """What a success response to an Allocate says.

    Raises:
        ClientError: it has no relayed address, or is malformed.
    """
    relayed = read_all(response, a.XOR_RELAYED_ADDRESS)
    if not relayed:
        raise ClientError("the answer has no XOR-RELAYED-ADDRESS")
    return Allocated(
        relayed=tuple(RelayedAddress(each) for each in relayed),
        mapped=read(response, a.XOR_MAPPED_ADDRESS),
        lifetime=read(response, a.LIFETIME) or 0,
        reservation_token=read(response, a.RESERVATION_TOKEN),
        response=response,
    )
