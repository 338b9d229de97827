"""Datagrams that a proxy passes on: each begins with a PROXY header that says whose it is.

What is left is the client's, and is looked up by a `Source` where others are by the socket's tuple.
Answers and media go back to the proxy, without a header.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from turnd.engine.base import Drop
from turnd.engine.proxy_v2 import Protocol, canonical_host, header_length, read_header
from turnd.engine.sockaddr import SockAddr, raw_address, shown_address
from turnd.stun.addresses import ClientAddress
from turnd.stun.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from turnd.engine.base import Leg
    from turnd.engine.intake import Arrival
    from turnd.engine.tally import Tally

MOST_KNOWN = 4096
"""Hosts that are remembered as trusted or not."""


class Source(NamedTuple):
    """Where a proxied datagram comes from."""

    client: SockAddr
    via: SockAddr


class Proxies:
    """Who is trusted to pass on what others sent."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network], tally: Tally) -> None:
        self._networks = networks
        self._tally = tally
        self._known: dict[str, bool] = {}

    def unwrap(self, data_untrusted: bytes, source: SockAddr) -> tuple[bytes, Any] | None:
        """What the client sent, and by what it is looked up; None: it is dropped.

        What comes from elsewhere stays as it is, with a header or without.
        """
        trusted = self._known.get(source[0])
        if trusted is None:
            trusted = self._look_up(source[0])
        if not trusted:
            return data_untrusted, source
        try:
            length = header_length(data_untrusted)
            addresses = read_header(data_untrusted[:length], Protocol.DATAGRAM)
        except DecodeError:
            self._tally.drop(Drop.PROXY_HEADER)
            return None
        if addresses is None:
            return data_untrusted[length:], source
        return data_untrusted[length:], Source(raw_address(addresses.client), source)

    def unwrapped(self, arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
        """The same of datagrams as they arrive; those that are dropped are left out."""
        for data_untrusted, beside, flags, source in arrivals:
            unwrapped = self.unwrap(data_untrusted, source)
            if unwrapped is not None:
                yield unwrapped[0], beside, flags, unwrapped[1]

    def _look_up(self, host: str) -> bool:
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        address = ip_address(canonical_host(ip_address(host.partition("%")[0])))
        self._known[host] = any(address in network for network in self._networks)
        return self._known[host]


def source_of(leg: Leg) -> Any:
    """What the packets of a leg are looked up by."""
    client = raw_address(leg.client)
    return client if leg.via is None else Source(client, raw_address(leg.via))


def ends_of(source: Any) -> tuple[ClientAddress, ClientAddress | None]:
    """A leg's client, and its proxy if it has one."""
    if isinstance(source, Source):
        via = ClientAddress(shown_address(source.via))
        return ClientAddress(shown_address(source.client)), via
    return ClientAddress(shown_address(source)), None
