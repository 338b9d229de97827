"""Connecting to a server: by UDP, DTLS, TCP or TLS.

A connection sends and receives whole frames: a datagram, or what is cut out of a stream. What the
network does is one of two things: a lost packet (UDP, counted) or `UnreachableError`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import asyncio_dgram

from turnd.client.errors import (
    NotInstalledError,
    UnreachableError,
    UntrustedError,
    system_words,
)
from turnd.client.stream_connection import StreamConnection
from turnd.client.tls import TlsDetails, Trust, client_tls, name_of
from turnd.client.udp_connection import UdpConnection
from turnd.client.uri import Server, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from turnd.stun.addresses import TransportAddress

    _Opening = Callable[[], Coroutine[Any, Any, "Connection"]]

CONNECT_LIMIT = 10.0
"""Seconds for name look-up, TCP and handshake together."""


class Connection(Protocol):
    """A way to the server."""

    reliable: bool

    @property
    def tls(self) -> TlsDetails | None:
        """What the handshake has agreed on; None without TLS and DTLS."""
        ...

    @property
    def refusals(self) -> int:
        """Hard ICMP errors so far (RFC 8489 section 6.2.1): nobody listens. Not of streams."""
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
        """Send a frame. Over UDP and DTLS a packet that the system refuses is a lost one.

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
        trust: whose certificates are taken, by TLS and DTLS.
        server_name: SNI and the name to verify; None: the server's host.
        local_host: an address of this machine to send from; None: the system chooses.
        limit: seconds until the connection must stand.
    """

    trust: Trust = field(default_factory=Trust)
    server_name: str | None = None
    local_host: str | None = None
    limit: float = CONNECT_LIMIT


async def connect(server: Server, options: ConnectOptions | None = None) -> Connection:
    """Connect to a server.

    Raises:
        UntrustedError: its certificate is not to be trusted.
        UnreachableError: no such name, refused, no route, a failed handshake or too slow.
        NotInstalledError: pyOpenSSL is not there, which DTLS needs.
        OSError: the authorities to trust cannot be read.
    """
    options = options or ConnectOptions()
    opened = _opening(server, options)
    try:
        async with asyncio.timeout(options.limit):
            return await opened()
    except TimeoutError:
        raise UnreachableError(f"no connection to {server} in {options.limit:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise UntrustedError(f"the certificate of {server}: {error.verify_message}") from error
    except OSError as error:
        raise UnreachableError(f"{server}: {system_words(error)}") from error
    except UnicodeError as error:  # a host that cannot even be looked up
        raise UnreachableError(f"{server}: no host can be named so") from error


def _opening(server: Server, options: ConnectOptions) -> _Opening:
    """What opens it; what can go wrong on our side does so here, before anybody is asked."""
    match server.transport:
        case Transport.UDP:
            return partial(_open_udp, server, options)
        case Transport.DTLS:
            return _opening_dtls(server, options)
        case Transport.TCP:
            return partial(_open_stream, server, options)
        case Transport.TLS:
            tls, name = client_tls(options.trust), _name(server, options)
            return partial(_open_stream, server, options, tls, name)


def _name(server: Server, options: ConnectOptions) -> str:
    """Whom to ask for."""
    name = options.server_name or server.host
    try:
        return name_of(name)
    except ValueError as error:
        raise UnreachableError(f"{server}: no host can be named {name!r}") from error


def _opening_dtls(server: Server, options: ConnectOptions) -> _Opening:
    try:
        from turnd.client import dtls_connection as dtls  # noqa: PLC0415 - pyOpenSSL for few
    except ImportError as error:
        raise NotInstalledError("DTLS needs pyOpenSSL, which is not installed here") from error
    context, name = dtls.client_dtls(options.trust), _name(server, options)

    async def opened() -> Connection:
        udp = await _open_udp(server, options)
        try:
            return await dtls.connect_dtls(udp, context, server, name)
        except BaseException:
            await udp.close()
            raise

    return opened


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


async def _open_stream(
    server: Server,
    options: ConnectOptions,
    tls: ssl.SSLContext | None = None,
    name: str | None = None,
) -> StreamConnection:
    local = None if options.local_host is None else (options.local_host, 0)
    reader, writer = await asyncio.open_connection(
        server.host, server.port, ssl=tls, server_hostname=name, local_addr=local
    )
    return StreamConnection(reader, writer)
