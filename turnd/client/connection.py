"""Connecting to a server: by UDP, TCP or TLS.

A connection sends and receives whole frames: a datagram, or what is cut out of a stream. What the
network does is one of two things: a lost packet (UDP, counted) or `UnreachableError`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import asyncio_dgram

from turnd.client.errors import UnreachableError, system_words
from turnd.client.stream_connection import StreamConnection, TlsDetails
from turnd.client.udp_connection import UdpConnection
from turnd.client.uri import Server, Transport

if TYPE_CHECKING:
    from turnd.stun.addresses import TransportAddress

CONNECT_LIMIT = 10.0
"""Seconds for name look-up, TCP and TLS handshake together."""


class Connection(Protocol):
    """A way to the server."""

    reliable: bool

    @property
    def tls(self) -> TlsDetails | None:
        """What the TLS handshake has agreed on; None without TLS."""
        ...

    @property
    def refusals(self) -> int:
        """Hard ICMP errors so far (RFC 8489 section 6.2.1): nobody listens there. UDP only."""
        ...

    @property
    def local(self) -> TransportAddress:
        """Our side's transport address.

        Raises:
            UnreachableError: a stream that was reset at once has none.
        """
        ...

    @property
    def remote(self) -> TransportAddress:
        """The server's transport address; raises as `local` does."""
        ...

    async def send(self, data: bytes) -> None:
        """Send a frame. Over UDP a packet that the system refuses is a lost one.

        Raises:
            UnreachableError: reset or closed.
        """
        ...

    async def receive(self) -> bytes:
        """The next frame, untrusted.

        Raises:
            UnreachableError: the connection has ended.
        """
        ...

    def channel_data(self, number: int, data: bytes) -> bytes:
        """A ChannelData message in this transport's form (padded on streams)."""
        ...

    async def close(self) -> None:
        """End the connection; more than once is fine."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """How to connect.

    Attributes:
        tls: what to verify the server's certificate with; None: the system's authorities.
        server_name: SNI and the name to verify; None: the server's host.
        local_host: an address of this machine to send from; None: the system chooses.
        limit: seconds until the connection must stand.
    """

    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    local_host: str | None = None
    limit: float = CONNECT_LIMIT


async def connect(server: Server, options: ConnectOptions | None = None) -> Connection:
    """Connect to a server.

    Raises:
        UnreachableError: no such name, refused, no route, a failed TLS handshake or too slow.
    """
    options = options or ConnectOptions()
    try:
        async with asyncio.timeout(options.limit):
            if server.transport is Transport.UDP:
                return await _open_udp(server, options)
            return await _open_stream(server, options)
    except TimeoutError:
        raise UnreachableError(f"no connection to {server} in {options.limit:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise UnreachableError(f"the certificate of {server}: {error.verify_message}") from error
    except OSError as error:
        raise UnreachableError(f"{server}: {system_words(error)}") from error


async def _open_udp(server: Server, options: ConnectOptions) -> UdpConnection:
    if options.local_host is None:
        return UdpConnection(await asyncio_dgram.connect((server.host, server.port)))
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    udp = socket.socket(family, kind, protocol)
    try:
        udp.setblocking(False)
        udp.bind((options.local_host, 0))
        udp.connect(address)
        return UdpConnection(await _from_socket(udp))
    except OSError:
        udp.close()
        raise


async def _from_socket(connected: socket.socket) -> asyncio_dgram.DatagramClient:
    # The library decides by the peer's address which of its two classes it makes.
    return cast("asyncio_dgram.DatagramClient", await asyncio_dgram.from_socket(connected))


async def _open_stream(server: Server, options: ConnectOptions) -> StreamConnection:
    local = None if options.local_host is None else (options.local_host, 0)
    tls, name = None, None
    if server.transport is Transport.TLS:
        tls = options.tls or client_tls()
        name = options.server_name or server.host
    reader, writer = await asyncio.open_connection(
        server.host, server.port, ssl=tls, server_hostname=name, local_addr=local
    )
    return StreamConnection(reader, writer)


def client_tls(authorities: str | None = None, *, verify: bool = True) -> ssl.SSLContext:
    """A context that asks for `stun.turn` (RFC 7443).

    Args:
        authorities: a PEM file to trust in place of the system's authorities.
        verify: off only to look at a server whose certificate is known to be wrong.

    Raises:
        OSError: the authorities cannot be read; with the file's name.
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:
        error.filename = authorities
        raise
    context.set_alpn_protocols(["stun.turn"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
