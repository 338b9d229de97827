"""Whose a connection is, by its first bytes. Pure.

Rules of the house
    1.  A request by plain TCP begins with a byte from 0 to 3 (RFC 8489 section 5), a TLS client's
        ClientHello with 0x16. ChannelData cannot be first, since no channel is bound yet; its bytes
        are letters as well (`GET` begins with 0x47).
    2.  A ClientHello is looked into only where there is somebody else it could be for. ALPN says
        the most: RFC 7443's names are ours, a list without them (a browser's, an ACME client's) is
        not. Without ALPN, as TURN clients connect (libwebrtc, coturn), it is ours unless it names a
        host that none of our certificates is for; who connects by address names none.
    3.  What is neither is the backend's, where there is one, and else nobody's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from turnd.engine.base import ALPN, Transport
from turnd.listeners.client_hello import HANDSHAKE, read_client_hello
from turnd.listeners.incomplete import Incomplete
from turnd.stun.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_OURS = frozenset(name.encode() for name in ALPN)
_LAST_OF_STUN = 3


class Goal(StrEnum):
    """Where a connection goes."""

    TCP = "tcp"
    TLS = "tls"
    BACKEND = "backend"
    NOBODY = "nobody"


def sort(
    data_untrusted: bytes, accepts: Collection[Transport], is_ours: Callable[[str], bool] | None
) -> Goal | Incomplete:
    """Where a connection goes that begins with these bytes.

    Args:
        data_untrusted: the first bytes, as many as there are.
        accepts: what the endpoint serves.
        is_ours: whether a host name is one of ours; None: there is no backend.
    """
    if not data_untrusted:
        return Incomplete(1)
    first = data_untrusted[0]
    if first == HANDSHAKE and Transport.TLS in accepts:
        return Goal.TLS if is_ours is None else _sort_tls(data_untrusted, is_ours)
    if first <= _LAST_OF_STUN:
        return Goal.TCP if Transport.TCP in accepts else Goal.NOBODY
    return Goal.NOBODY if is_ours is None else Goal.BACKEND


def _sort_tls(data_untrusted: bytes, is_ours: Callable[[str], bool]) -> Goal | Incomplete:
    try:
        hello = read_client_hello(data_untrusted)
    except DecodeError:
        return Goal.NOBODY
    if isinstance(hello, Incomplete):
        return hello
    if hello.protocols:
        return Goal.BACKEND if _OURS.isdisjoint(hello.protocols) else Goal.TLS
    ours = hello.server_name is None or is_ours(hello.server_name)
    return Goal.TLS if ours else Goal.BACKEND
