"""What an admin can do about a step of the check that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.client.errors import (
    BidDownError,
    ClientError,
    IntegrityError,
    NotInstalledError,
    StunError,
    TransactionTimeoutError,
    UnreachableError,
)
from turnd.client.uri import Transport

if TYPE_CHECKING:
    from turnd.client.uri import Server

_BY_CODE = {
    300: "The server sends clients elsewhere: check the server that it names.",
    400: "The server takes the request for a bad one: is it a TURN server of RFC 5766 or newer?",
    401: (
        "The server does not accept this user: check name and password; with a secret, that it is "
        "the server's own and that both clocks are right."
    ),
    403: "The server refuses this by its policy: see peers.allow and peers.deny in its config.",
    420: "The server does not know an attribute that this client needs: is it up to date?",
    437: (
        "The server takes our address for one that has an allocation already, from three ports of "
        "ours: is there a proxy or a NAT that shows all clients with the same one?"
    ),
    440: "The server has no relay address of this family: see relay.addresses in its config.",
    441: "The allocation belongs to another user.",
    442: "The server does not relay UDP.",
    486: (
        "The user, the client's address or the server has as many allocations as it may: see "
        "limits in the server's config."
    ),
    500: "The server is in trouble, for instance because Redis is away: read its log.",
    508: "The server is out of relay ports, or is shutting down: see relay.ports and its log.",
}


_BY_KIND: dict[type[ClientError], str] = {
    NotInstalledError: "Install it beside turnd: pip install pyopenssl.",
    BidDownError: "Something between here and the server changes its answers: use TLS.",
    IntegrityError: (
        "An unsigned error 500 comes from a server that cannot look the user up, for instance "
        "because Redis is away: read its log. Otherwise something answers in the server's "
        "place or changes its answers: use TLS."
    ),
}
_WITHOUT = {
    Transport.TLS: " A server without TLS: --transport udp --transport tcp.",
    Transport.DTLS: " Few servers have DTLS; turnd has it at dtls:// and auto:// endpoints.",
}


def advice(error: ClientError, server: Server) -> str:
    """What to do about an error, in a sentence or two."""
    if isinstance(error, StunError):
        return _BY_CODE.get(error.code, "Read the server's log.")
    where = f"{server.host} port {server.port}"
    if isinstance(error, TransactionTimeoutError):
        return (
            f"Nothing came back from {where} by {server.transport.carrier.upper()}: is the server "
            "running, is the address right, does a firewall drop it?"
        )
    if isinstance(error, UnreachableError):
        return (
            f"Is the server running and does it listen at {where} by "
            f"{server.transport.upper()} (listen in its config)? Does a firewall refuse it?"
        ) + _WITHOUT.get(server.transport, "")
    return _BY_KIND.get(type(error), "Read the server's log.")


NO_ECHO = (
    "The relay passes nothing on: does a firewall close the server's relay ports "
    "(49152-65535/udp unless relay.ports says otherwise), or is the announced address not the "
    "server's (relay.addresses)?"
)
SOME_LOST = "Packets get lost: look for a full link, a slow path or dropped packets in /metrics."
NO_ALTERNATE = "Name one under redirect.to in the server's config, for clients of this family."
CIRCLE = (
    "Clients that come back are refused or go round for ever: let the servers name others, or one "
    "of them none."
)
SENT_ON = "Clients follow from server to server at best: let the first one name the last."
OPEN_RELAY = "Anybody may relay through this server: set up users or secrets (auth in its config)."
PRIVATE_RELAY = (
    "Peers elsewhere cannot reach this address: announce the public one in the server's config, "
    "as relay.addresses: [bound=announced]."
)
ANOTHER_RELAY = (
    "Fine where the server relays from another address than it listens at. If its address has "
    "changed, it announces an old one: let relay.addresses in its config follow, by dns: or stun:."
)
NO_CREDENTIALS = "Give a user (--user, with the password on --password-stdin) or --secret-file."
EXPIRED = "Renew the certificate; the server reads it again when its file changes."
EXPIRES_SOON = "Renew it in time; the server reads it again when its file changes."
UNTRUSTED = (
    "Browsers refuse this certificate, too: use one of a public authority with the whole chain in "
    "its file, for the name that clients use; or --ca FILE for an authority of your own."
)
NO_PEER = (
    "Let this user have two allocations (limits in the server's config) or its relayed addresses "
    "as peers, or give the server's UDP port on --port."
)
EVERY_PEER_REFUSED = (
    "The server refuses its own relayed addresses and this machine's address: allow one of them "
    "in peers.allow, or run the check from another network."
)
