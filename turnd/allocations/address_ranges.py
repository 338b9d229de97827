"""Sets of IP addresses, as an admin writes them and as they are searched: by bisection."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from turnd.allocations.special_purpose import SPECIAL_PURPOSE_IPV4, SPECIAL_PURPOSE_IPV6

if TYPE_CHECKING:
    from collections.abc import Iterable

SPECIAL_PURPOSE = "special-purpose"
"""The word that stands for all special-purpose ranges."""


@dataclass(frozen=True, slots=True)
class AddressRanges:
    """Sets of IPv4 and IPv6 addresses as sorted ranges that neither overlap nor touch.

    Each family is (first addresses, last addresses).
    """

    ipv4: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    ipv6: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    @classmethod
    def parse(cls, texts: Iterable[str]) -> AddressRanges:
        """Of networks, single addresses, `from-to` ranges and the word `special-purpose`.

        Raises:
            ValueError: one is none of these; the message says which and why.
        """
        by_version: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for text in texts:
            if text == SPECIAL_PURPOSE:
                for network in SPECIAL_PURPOSE_IPV4 + SPECIAL_PURPOSE_IPV6:
                    version, first, last = _parse_range(network)
                    by_version[version].append((first, last))
            else:
                version, first, last = _parse_range(text)
                by_version[version].append((first, last))
        return cls(_merge(by_version[4]), _merge(by_version[6]))

    def contain(self, version: int, address: int) -> bool:
        """Whether an address is in one of the ranges."""
        firsts, lasts = self.ipv4 if version == 4 else self.ipv6
        place = bisect_right(firsts, address) - 1
        return place >= 0 and address <= lasts[place]


def _parse_range(text: str) -> tuple[int, int, int]:
    """IP version, first and last address."""
    lower, dash, upper = (part.strip() for part in text.partition("-"))
    try:
        if not dash:
            network = ip_network(lower)
            return network.version, int(network[0]), int(network[-1])
        first, last = ip_address(lower), ip_address(upper)
    except ValueError as error:
        raise ValueError(_why_no_range(text, error)) from None
    if first.version != last.version or int(first) > int(last):
        raise ValueError(f"'{text}' is no range: a lower and a higher address of one IP version")
    return first.version, int(first), int(last)


def _why_no_range(text: str, error: ValueError) -> str:
    if "host bits" in str(error):
        network = ip_network(text, strict=False)
        return f"'{text}' is an address within a network: write {network}, or the address alone"
    return (
        f"'{text}' is none of: {SPECIAL_PURPOSE}, a network such as 10.0.0.0/8, an address, "
        "a range such as 10.0.0.1-10.0.0.9"
    )


def _merge(ranges: list[tuple[int, int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    firsts: list[int] = []
    lasts: list[int] = []
    for first, last in sorted(ranges):
        if lasts and first <= lasts[-1] + 1:
            lasts[-1] = max(lasts[-1], last)
        else:
            firsts.append(first)
            lasts.append(last)
    return tuple(firsts), tuple(lasts)
