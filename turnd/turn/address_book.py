"""Which addresses to relay from: of what this host has, and of what others say of it.

Rules
    1.  Which hosts can be bound is this host's own word. What is gone is not relayed from.
    2.  What a name server or a STUN server says is untrusted: an address that no client elsewhere
        could reach is refused (`why_unfit`).
    3.  Who does not answer has taken nothing back: what was believed last goes on, for ever.
    4.  Of several answers the one that is believed already stays, else the first is taken.
    5.  A bound host is used once, and so is an announced one: the first entry has it. Two hosts
        behind one public address could not be told apart by it. An entry that is left with nothing
        is in trouble.
    6.  A family that an entry has given and has no bound host of any more is wanting, not gone: a
        line is down, its router is restarting. The same holds for a makeshift.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from turnd.stun.addresses import AddressFamily, family_of
from turnd.turn.relay_addresses import AddressPair

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RETRY = 5.0
"""Seconds until the next look while an address is wanting."""

_LOCAL = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7",
            "fec0::/10",
        ),
    )
)  # fmt: skip
"""RFC 1918, RFC 6598 (shared by the customers of a provider), RFC 4193, RFC 3879."""

_NOWHERE = tuple(map(ip_network, ("0.0.0.0/8", "240.0.0.0/4", "64:ff9b::/96", "64:ff9b:1::/48")))
"""RFC 1122 section 3.2.1.3 and RFC 1112 section 4: "this network", and what was never given out.
RFC 6052 and RFC 8215: what DNS64 makes of a name that has an IPv4 address alone."""

_NAMES = {AddressFamily.IPV4: "IPv4", AddressFamily.IPV6: "IPv6"}


class TroubleKind(StrEnum):
    """What an entry's trouble means for clients."""

    NOT_HERE = "not_here"  # nothing to bind, or nothing any more of a family
    UNKNOWN = "unknown"  # nobody says what to announce
    KEPT = "kept"  # the same, and what was said before goes on


class Trouble(NamedTuple):
    """An entry that does not give what it should."""

    entry: str
    kind: TroubleKind
    why: str


class Finding(NamedTuple):
    """What one look has found for one entry of the configuration."""

    entry: str
    bound: tuple[str, ...]
    """Hosts of this machine, at this moment."""
    announced: Mapping[str, str] | None = None
    """By bound host, as the admin wrote it. A bound host that is not here is left out."""
    said_untrusted: Mapping[str, Sequence[str]] | None = None
    """By bound host, as others say. Nothing said is an empty list; nobody asked, or no answer: the
    bound host is not here."""
    problem: str = ""
    """Why something was not found."""
    is_makeshift: bool = False
    """Bound is what is left where nothing was found: for an entry that has never had better."""


class Settled(NamedTuple):
    """What is to be relayed from."""

    pairs: tuple[AddressPair, ...]
    lacking: frozenset[AddressFamily]
    """Families that there should be an address of, and is none."""
    troubles: tuple[Trouble, ...]


class AddressBook:
    """Remembers what was believed. One for a server."""

    def __init__(self) -> None:
        self.due_at = 0.0
        """When to look again, monotonic seconds."""
        self._believed: dict[tuple[str, str], str] = {}
        """Announced host by entry and bound host."""
        self._families: dict[str, set[AddressFamily]] = {}
        """What an entry has given so far."""

    def settle(self, findings: Iterable[Finding], now: float, every: float) -> Settled:
        """Decide, of one look at every entry.

        Args:
            findings: in the order of the configuration.
            now: monotonic seconds.
            every: seconds until the next look, where nothing is wanting.
        """
        pairs: dict[str, AddressPair] = {}
        troubles: list[Trouble] = []
        wanted: set[AddressFamily] = set()
        for finding in map(self._unless_makeshift, findings):
            found, problems = self._pairs_of(finding)
            for pair in found:
                announced = {each.announced for each in pairs.values()}
                if pair.bound not in pairs and pair.announced not in announced:
                    pairs[pair.bound] = pair
            used = [pair for pair in found if pairs.get(pair.bound) == pair]
            if found and not used:
                problems.append(f"another entry has {found[0].bound} or {found[0].announced}")
            trouble = _trouble(finding, used, problems, self._gone(finding))
            if trouble is not None:
                troubles.append(trouble)
                wanted |= self._families_of(finding)
            self._remember(finding, found)
        lacking = frozenset(wanted - {family_of(bound) for bound in pairs})
        self.due_at = now + (min(every, RETRY) if lacking else every)
        return Settled(tuple(pairs.values()), lacking, tuple(troubles))

    def postpone(self, now: float) -> None:
        """Nobody could look this time: again soon, and all stays as it is."""
        self.due_at = now + RETRY

    def _unless_makeshift(self, finding: Finding) -> Finding:
        """What was found, or nothing in place of a makeshift of who has had better."""
        if finding.is_makeshift and self._families.get(finding.entry):
            return Finding(finding.entry, (), problem=finding.problem)
        return finding._replace(problem="") if finding.is_makeshift else finding

    def _gone(self, finding: Finding) -> set[AddressFamily]:
        """Of which families an entry had addresses, and has none on this host now."""
        return self._families.get(finding.entry, set()) - set(map(family_of, finding.bound))

    def _remember(self, finding: Finding, found: Iterable[AddressPair]) -> None:
        if not finding.is_makeshift:
            given = {family_of(pair.bound) for pair in found}
            self._families.setdefault(finding.entry, set()).update(given)

    def _pairs_of(self, finding: Finding) -> tuple[list[AddressPair], list[str]]:
        pairs: list[AddressPair] = []
        problems = [finding.problem] if finding.problem else []
        for bound in finding.bound:
            if finding.said_untrusted is not None:
                announced = self._believe(finding, bound, problems)
            elif finding.announced is not None:
                announced = finding.announced.get(bound)
            else:
                announced = bound
            if announced is not None:
                pairs.append(AddressPair(bound, announced))
        return pairs, problems

    def _believe(self, finding: Finding, bound: str, problems: list[str]) -> str | None:
        assert finding.said_untrusted is not None  # noqa: S101 - the caller has looked
        key = (finding.entry, bound)
        before = self._believed.get(key)
        answers = finding.said_untrusted.get(bound)
        if answers is None:
            return before
        reasons = {answer: why_unfit(answer, bound) for answer in answers}
        fit = [answer for answer, reason in reasons.items() if reason is None]
        if not fit:
            problems += [f"{answer} is {reason}" for answer, reason in reasons.items()]
        if before in fit:
            return before
        if fit:
            self._believed[key] = fit[0]
        elif not answers:
            self._believed.pop(key, None)
        return self._believed.get(key)

    def _families_of(self, finding: Finding) -> set[AddressFamily]:
        here = {family_of(bound) for bound in finding.bound}
        return here | self._families.get(finding.entry, set()) or set(AddressFamily)


def _trouble(
    finding: Finding,
    found: list[AddressPair],
    problems: list[str],
    gone: set[AddressFamily],
) -> Trouble | None:
    why = "; ".join(problems)
    if not finding.bound:
        return Trouble(finding.entry, TroubleKind.NOT_HERE, why)
    if gone:
        why = "; ".join([f"it had an {_NAMES[min(gone)]} address, and has none now", *problems])
        return Trouble(finding.entry, TroubleKind.NOT_HERE, why)
    if why:
        kind = TroubleKind.KEPT if found else TroubleKind.UNKNOWN
        return Trouble(finding.entry, kind, why)
    if not found:
        why = "nobody says an address of a family that this host has"
        return Trouble(finding.entry, TroubleKind.UNKNOWN, why)
    return None


def why_unfit(announced_untrusted: str, bound: str) -> str | None:
    """Why an address that others say is ours cannot be announced for a bound one; None: it can."""
    try:
        address = ip_address(announced_untrusted)
    except ValueError:
        return "no IP address"
    if family_of(announced_untrusted) is not family_of(bound):
        return "of another family"
    if address.is_loopback:
        return None if ip_address(bound).is_loopback else "a loopback address"
    is_mapped = address.version == 6 and address.ipv4_mapped is not None
    is_nowhere = address.is_multicast or any(address in network for network in _NOWHERE)
    if address.is_unspecified or is_mapped or is_nowhere:
        return "no host's address"
    is_private = address.is_link_local or any(address in network for network in _LOCAL)
    return "a private address" if is_private else None
