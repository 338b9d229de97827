"""The sockets: UDP by asyncio-dgram, TCP and TLS by asyncio's streams.

A connection sends and receives whole frames: a datagram, or what `StreamFramer` cuts out of a
stream. What the network does is one of two things: a lost packet (UDP, counted) or
`UnreachableError`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol, cast

import asyncio_dgram

from turnd.client.errors import UnreachableError
from turnd.client.uri import Server, Transport
from turnd.stun.addresses import ChannelNumber, TransportAddress
from turnd.stun.channel_data import encode_channel_data
from turnd.stun.errors import DecodeError
from turnd.stun.framing import StreamFramer

READ_SIZE = 65536
CONNECT_LIMIT = 10.0
"""Seconds for name look-up, TCP and TLS handshake together."""
CLOSE_LIMIT = 2.0
"""Seconds for TLS to say goodbye."""


@dataclass(frozen=True, slots=True)
class TlsDetails:
    """A TLS connection: the version's name, the certificate in DER, the ALPN protocol."""

    version: str
    certificate: bytes
    alpn: str | None


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
        """Our side's transport address."""
        ...

    @property
    def remote(self) -> TransportAddress:
        """The server's transport address."""
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
        raise UnreachableError(f"{server}: {_words(error)}") from error


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


class UdpConnection:
    """Datagrams to and from one server."""

    reliable = False
    tls = None

    def __init__(self, stream: asyncio_dgram.DatagramClient) -> None:
        self._stream = stream
        self._refusals = 0
        self.lost = 0
        """Packets that the system would not send, and errors it reported for sent ones."""

    @property
    def refusals(self) -> int:
        """Hard ICMP errors so far."""
        self._take_errors()
        return self._refusals

    @property
    def local(self) -> TransportAddress:
        """Our side's transport address."""
        return _address(self._stream.sockname)

    @property
    def remote(self) -> TransportAddress:
        """The server's transport address."""
        return _address(self._stream.peername)

    async def send(self, data: bytes) -> None:
        """Send a datagram."""
        self._take_errors()
        try:
            await self._stream.send(data)
        except asyncio_dgram.TransportClosed:
            raise UnreachableError("the socket is closed") from None
        except OSError as error:
            self._note(error)

    async def receive(self) -> bytes:
        """The next datagram."""
        while True:
            try:
                data, _ = await self._stream.recv()
            except asyncio_dgram.TransportClosed:
                raise UnreachableError("the socket is closed") from None
            except OSError as error:
                self._note(error)
            else:
                return bytes(data)

    def channel_data(self, number: int, data: bytes) -> bytes:
        """A ChannelData message, not padded."""
        return encode_channel_data(ChannelNumber(number), data, padded=False)

    async def close(self) -> None:
        """Close the socket."""
        self._stream.close()

    def _take_errors(self) -> None:
        # asyncio-dgram raises an earlier packet's error in place of the next packet's sending.
        while True:
            try:
                _ = self._stream.exception
            except OSError as error:
                self._note(error)
            else:
                return

    def _note(self, error: OSError) -> None:
        self.lost += 1
        if isinstance(error, ConnectionRefusedError):
            self._refusals += 1


class StreamConnection:
    """Frames over TCP or TLS."""

    reliable = True
    refusals = 0

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._framer = StreamFramer()
        self.tls = _tls_details(writer)

    @property
    def local(self) -> TransportAddress:
        """Our side's transport address."""
        return _address(self._writer.get_extra_info("sockname"))

    @property
    def remote(self) -> TransportAddress:
        """The server's transport address."""
        return _address(self._writer.get_extra_info("peername"))

    async def send(self, data: bytes) -> None:
        """Send a frame; waits while the server does not read."""
        if self._writer.is_closing():
            raise UnreachableError("the connection is closed")
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError as error:
            raise UnreachableError(f"the connection broke: {_words(error)}") from error

    async def receive(self) -> bytes:
        """The next frame."""
        while True:
            try:
                frame = self._framer.next_frame()
                if frame is not None:
                    return frame
                chunk_untrusted = await self._reader.read(READ_SIZE)
            except DecodeError as error:
                raise UnreachableError(f"the server does not speak STUN here: {error}") from error
            except OSError as error:
                raise UnreachableError(f"the connection broke: {_words(error)}") from error
            if not chunk_untrusted:
                raise UnreachableError("the server closed the connection")
            self._framer.feed(chunk_untrusted)

    def channel_data(self, number: int, data: bytes) -> bytes:
        """A ChannelData message, padded to four bytes."""
        return encode_channel_data(ChannelNumber(number), data, padded=True)

    async def close(self) -> None:
        """Close the connection and wait until its socket is gone."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_LIMIT):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()


def _tls_details(writer: asyncio.StreamWriter) -> TlsDetails | None:
    session: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    if session is None:
        return None
    return TlsDetails(
        version=session.version() or "",
        certificate=session.getpeercert(binary_form=True) or b"",
        alpn=session.selected_alpn_protocol(),
    )


def _address(name: tuple[str, int] | tuple[str, int, int, int]) -> TransportAddress:
    return TransportAddress(str(ip_address(name[0].partition("%")[0])), name[1])


def _words(error: OSError) -> str:
    """The system's own phrase: asyncio replaces it by the address, OpenSSL by its source line."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return (error.strerror or str(error)).lower()
