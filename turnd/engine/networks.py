"""The network that strangers are counted by: who has one address of it may well have all."""

from __future__ import annotations

from functools import lru_cache

from turnd.stun.addresses import pack_host


@lru_cache(maxsize=4096)
def network_of(host: str) -> bytes:
    """The IPv4 /24 or IPv6 /56 of a host in canonical text, in network order."""
    packed = pack_host(host)
    return packed[:3] if len(packed) == 4 else packed[:7]
