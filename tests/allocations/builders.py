"""Short ways to things that tests of allocations need."""

from __future__ import annotations

from itertools import count

from turnd.allocations.allocation import Allocation, AllocationLimits, Relay
from turnd.allocations.quotas import Quotas
from turnd.allocations.reservations import Reservations
from turnd.allocations.table import AllocationTable
from turnd.stun.addresses import ChannelNumber, PeerAddress, RelayedAddress, TransportAddress

IPV4_HOST = "198.51.100.7"
IPV6_HOST = "2001:db8::7"
HOSTS = (IPV4_HOST, IPV6_HOST)


def counting_bytes() -> Reservations:
    """Reservations whose tokens are 0, 1, 2, ..."""
    numbers = count()
    return Reservations(lambda length: next(numbers).to_bytes(length))


def table_of(
    *, quotas: Quotas | None = None, limits: AllocationLimits | None = None
) -> AllocationTable[Allocation]:
    return AllocationTable(quotas or Quotas(), counting_bytes(), limits)


def relay_of(
    relay_id: int = 1, host: str = IPV4_HOST, port: int = 50000, deadline: float = 600.0
) -> Relay:
    return Relay(
        relay_id,
        TransportAddress(host, port),
        RelayedAddress(TransportAddress(host, port)),
        deadline,
    )


def allocation_of(
    leg: str = "leg", *relays: Relay, user: str = "alice", client_host: str = "192.0.2.1"
) -> Allocation:
    return Allocation(
        leg=leg,
        client_host=client_host,
        realm="turn.example.org",
        user=user,
        quota_user=user,
        created_at=0.0,
        relays=relays or (relay_of(),),
    )


def dual(
    leg: str = "leg", ipv4_deadline: float = 600.0, ipv6_deadline: float = 600.0
) -> Allocation:
    return allocation_of(
        leg,
        relay_of(1, IPV4_HOST, 50000, ipv4_deadline),
        relay_of(2, IPV6_HOST, 50000, ipv6_deadline),
    )


def peer(host: str = "192.0.2.9", port: int = 9000) -> PeerAddress:
    return PeerAddress(TransportAddress(host, port))


def channel(number: int) -> ChannelNumber:
    return ChannelNumber(number)
