"""The core's numbers. Replaced as a whole when the configuration is read again."""

from __future__ import annotations

from dataclasses import dataclass

from turnd.stun.addresses import AddressFamily


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """Seconds unless said otherwise."""

    default_lifetime: float = 600
    """Of an allocation, where the client asks for less or nothing (RFC 8656 section 7.2)."""
    max_lifetime: float = 3600
    default_family: AddressFamily | None = AddressFamily.IPV4
    """Of a relayed transport address whose client names no family; None: the client's own, where
    that is relayed."""
    mobility: bool = False
    """Whether allocations may follow their clients to other addresses (RFC 8016)."""
    rfc3489: bool = False
    """Whether Binding requests without magic cookie are answered."""
    tcp: bool = False
    """Whether there are TCP allocations (RFC 6062)."""
    software: str = "turnd"
    """SOFTWARE of authenticated answers; the others carry none."""
