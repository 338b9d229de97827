"""Mobility tickets: what a client shows to take its allocation along (RFC 8016 section 3).

A ticket is 24 random bytes, good for one move, written as text: some clients, coturn's among them,
keep it as a string that ends with its first zero. What it stands for is remembered here, by the
ticket's hash: how long a look-up takes says nothing about a ticket that was nearly guessed. Of
an allocation the ticket that was used last is known too, for a retransmission of that request; both
die with the allocation, so there are at most twice as many as allocations.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from turnd.allocations.allocation import Allocation

if TYPE_CHECKING:
    from collections.abc import Callable

TICKET_LENGTH = 32
_RANDOM = 24

A = TypeVar("A", bound=Allocation)


class Claim(NamedTuple, Generic[A]):
    """What a ticket stands for."""

    allocation: A
    used: bool
    """Whether another ticket took its place."""


class _Digests(NamedTuple):
    """Of an allocation's tickets."""

    current: bytes
    used: bytes | None


class Tickets(Generic[A]):
    """The tickets of all allocations that have one.

    Args:
        random_bytes: so many bytes that nobody can guess.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._by_digest: dict[bytes, A] = {}
        self._of: dict[A, _Digests] = {}

    def __len__(self) -> int:
        return len(self._by_digest)

    def issue(self, allocation: A) -> bytes:
        """A new ticket for an allocation; the one that it had counts as used."""
        ticket = urlsafe_b64encode(self._random_bytes(_RANDOM))
        digest = sha256(ticket).digest()
        former = self._of.get(allocation)
        if former is not None and former.used is not None:
            del self._by_digest[former.used]
        self._of[allocation] = _Digests(digest, None if former is None else former.current)
        self._by_digest[digest] = allocation
        return ticket

    def find(self, ticket_untrusted: bytes) -> Claim[A] | None:
        """What a ticket stands for; None when it was never issued, or its allocation has ended."""
        digest = sha256(ticket_untrusted).digest()
        allocation = self._by_digest.get(digest)
        if allocation is None:
            return None
        return Claim(allocation, used=digest != self._of[allocation].current)

    def has(self, allocation: A) -> bool:
        """Whether the allocation may follow its client."""
        return allocation in self._of

    def forget(self, allocation: A) -> None:
        """The allocation has ended."""
        for digest in self._of.pop(allocation, ()):
            if digest is not None:
                del self._by_digest[digest]
