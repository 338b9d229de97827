"""Which realm serves whom.

In this order, the first that there is
    1.  The realm that the client's listener belongs to.
    2.  The realm of the five-tuple's allocation, or of the one that a mobility ticket claims: an
        allocation keeps its realm while it lives.
    3.  The realm of the name that the client asked for by TLS or DTLS (SNI, RFC 6066 section 3).
    4.  The realm of the web page that the request comes from, where it says so (ORIGIN of
        draft-ietf-tram-stun-origin: clients send it, though it was never registered).
    5.  The server's own.

A name or an origin that belongs to no realm changes nothing. Neither proves anything: they choose
which users may come, who then prove themselves to that realm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turnd.stun import attributes as a
from turnd.stun.errors import DecodeError
from turnd.stun.server_names import fitting_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turnd.engine.base import Leg, ListenerId
    from turnd.stun.message import Message
    from turnd.turn.realm import Realm

_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(slots=True)
class Realms:
    """All realms of a server; names and origins may be replaced while it runs."""

    own: Realm
    by_listener: Mapping[ListenerId, Realm] = field(default_factory=dict)
    """Of listeners that serve one further realm alone."""
    by_server_name: Mapping[str, Realm] = field(default_factory=dict)
    """By lower-case DNS names; `*.example.org` stands for one label more, and after a realm that
    has such a name itself."""
    by_origin: Mapping[str, Realm] = field(default_factory=dict)
    """By what `canonical_origin` makes of them."""
    _by_leg: dict[Leg, Realm] = field(default_factory=dict)

    @property
    def are_named(self) -> bool:
        """Whether a client may name a realm that is not its listener's."""
        return bool(self.by_server_name or self.by_origin)

    def opened(self, leg: Leg, server_name: str | None) -> None:
        """A connection is ready whose client asked for this name, or for none."""
        realm = None if server_name is None else self._named(server_name)
        if realm is not None:
            self._by_leg[leg] = realm

    def closed(self, leg: Leg) -> None:
        """A connection has ended."""
        self._by_leg.pop(leg, None)

    def of(self, leg: Leg, message: Message, kept: Realm | None) -> Realm:
        """The realm of a request; `kept` is that of the allocation that it is about, if any."""
        fixed = self.by_listener.get(leg.listener)
        if fixed is not None:
            return fixed
        return kept or self._by_leg.get(leg) or self._by_origin_of(message) or self.own

    def _named(self, server_name: str) -> Realm | None:
        name, pattern = fitting_names(server_name)
        return self.by_server_name.get(name) or self.by_server_name.get(pattern)

    def _by_origin_of(self, message: Message) -> Realm | None:
        """The first that is known: a page within another page may name both."""
        if not self.by_origin or not message.has(a.ORIGIN):
            return None
        try:
            origins = message.get_all(a.ORIGIN)
        except DecodeError:
            return None
        found = (self.by_origin.get(canonical_origin(origin)) for origin in origins)
        return next((realm for realm in found if realm is not None), None)


def canonical_origin(text: str) -> str:
    """An origin as it is compared: lower case, without a slash behind it or the scheme's port."""
    scheme, _, rest = text.lower().removesuffix("/").partition("://")
    host, colon, port = rest.rpartition(":")
    if colon and port == _DEFAULT_PORTS.get(scheme):
        rest = host
    return f"{scheme}://{rest}"
