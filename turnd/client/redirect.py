"""Where an answer of 300 (Try Alternate) sends a client, from the client's side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from turnd.client.answers import read, read_all
from turnd.client.uri import Server
from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode

if TYPE_CHECKING:
    from turnd.client.errors import StunError
    from turnd.stun.addresses import AddressFamily, TransportAddress


class Elsewhere(NamedTuple):
    """Another server."""

    address: TransportAddress
    domain: str | None
    """The name in its certificate; None: the one that was expected of the former server."""

    def by_transport_of(self, former: Server) -> Server:
        """It, by the transport that the former one was asked by."""
        return Server(*self.address, former.transport)

    def name(self, former: Server, server_name: str | None) -> str:
        """The name in its certificate.

        Args:
            former: who sends us there.
            server_name: what was expected of its certificate; None: its host.
        """
        return self.domain or server_name or former.host


def elsewhere(error: StunError, family: AddressFamily) -> Elsewhere | None:
    """The first alternate of our family (RFC 8489 section 10); None: the error names none.

    Raises:
        ClientError: an attribute is malformed.
    """
    if error.code != ErrorCode.TRY_ALTERNATE or error.response is None:
        return None
    for address in read_all(error.response, a.ALTERNATE_SERVER):
        if address.family is family:
            return Elsewhere(address, read(error.response, a.ALTERNATE_DOMAIN))
    return None
