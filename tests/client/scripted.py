"""A server that answers as a test scripts it, over UDP, TCP or TLS on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from turnd.client.client import TurnClient
from turnd.client.session import ClientOptions
from turnd.client.transactions import Timing
from turnd.client.uri import Server, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.framing import StreamFramer
from turnd.stun.message import (
    Integrity,
    Message,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)

if TYPE_CHECKING:
    import ssl

Script = Callable[["Exchange"], None]

PATIENT = Timing(rto=20.0, max_requests=2, last_wait=1, stream_timeout=40.0)
"""For every test that gets its answers: nothing is sent twice, however busy the machine is."""
FAST = Timing(rto=0.02, max_requests=3, last_wait=2, stream_timeout=1.0)
"""So that a test for a timeout takes a tenth of a second, or one by a stream."""
INSISTENT = Timing(rto=0.02, max_requests=3, last_wait=1000)
"""Sends again fast, and then waits for the answer to the last request."""
RELAYED = TransportAddress("203.0.113.7", 50000)
RELAYED6 = TransportAddress("2001:db8::7", 50000)
PEER = TransportAddress("198.51.100.1", 4000)
REQUEST = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), ())


@dataclass
class Exchange:
    """One frame from the client, and the door back."""

    frame: bytes
    number: int
    """How many came before."""
    client: TransportAddress
    send: Callable[[bytes], None]
    """Sends bytes to the client as they are."""

    @property
    def message(self) -> Message:
        """The frame as a STUN message."""
        return decode_untrusted(self.frame)

    def succeed(
        self, *attributes: tuple[a.Attribute[Any], Any], integrity: Integrity | None = None
    ) -> None:
        """A success response."""
        self.send(answer(self.message, MessageClass.SUCCESS, attributes, integrity))

    def fail(
        self,
        code: int,
        *attributes: tuple[a.Attribute[Any], Any],
        integrity: Integrity | None = None,
    ) -> None:
        """An error response; `code` 0 leaves ERROR-CODE out."""
        error = [(a.ERROR_CODE, a.ErrorCodeValue(code, "scripted"))] if code else []
        self.send(answer(self.message, MessageClass.ERROR, [*error, *attributes], integrity))


def answer(
    request: Message,
    message_class: MessageClass,
    attributes: Sequence[tuple[a.Attribute[Any], Any]] = (),
    integrity: Integrity | None = None,
) -> bytes:
    """A response to a request."""
    return encode_message(
        request.method, message_class, request.transaction_id, attributes, integrity=integrity
    )


def mapped(exchange: Exchange) -> None:
    """The usual answer to a Binding request."""
    exchange.succeed((a.XOR_MAPPED_ADDRESS, exchange.client))


@dataclass
class Scripted:
    """The running server."""

    server: Server
    script: Script
    seen: list[Exchange] = field(default_factory=list)
    close_streams: Callable[[], None] = lambda: None
    send_to: Callable[[TransportAddress, bytes], None] = lambda _to, _data: None
    """Over UDP: sends to whom nobody has asked for."""

    def take(self, frame: bytes, client: TransportAddress, send: Callable[[bytes], None]) -> None:
        """Run the script on a frame."""
        exchange = Exchange(frame, len(self.seen), client, send)
        self.seen.append(exchange)
        self.script(exchange)


@asynccontextmanager
async def scripted(
    script: Script,
    transport: Transport = Transport.UDP,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Scripted]:
    """Run a scripted server; `tls` for `Transport.TLS`, `host` for UDP."""
    running = Scripted(Server(host, 0, transport), script)
    if transport is Transport.UDP:
        loop = asyncio.get_running_loop()
        endpoint, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(running), local_addr=(host, 0)
        )
        running.server = Server(host, endpoint.get_extra_info("sockname")[1], transport)
        running.send_to = lambda to, data: endpoint.sendto(data, to)
        try:
            yield running
        finally:
            endpoint.close()
        return
    async with _streams(running, tls) as server:
        running.server = Server("127.0.0.1", server.sockets[0].getsockname()[1], transport)
        yield running


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, running: Scripted) -> None:
        self._running = running
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        transport = self._transport
        assert transport is not None
        self._running.take(
            data, TransportAddress(*addr[:2]), lambda back: transport.sendto(back, addr)
        )


@asynccontextmanager
async def _streams(running: Scripted, tls: ssl.SSLContext | None) -> AsyncIterator[asyncio.Server]:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        client = TransportAddress(*writer.get_extra_info("peername")[:2])
        framer = StreamFramer()
        try:
            while chunk := await reader.read(65536):
                framer.feed(chunk)
                while (frame := framer.next_frame()) is not None:
                    running.take(frame, client, writer.write)
        except OSError:
            pass  # the client has gone
        finally:
            writer.close()

    def close_all() -> None:
        for writer in writers:
            writer.close()

    running.close_streams = close_all
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server
    finally:
        server.close()
        close_all()
        for writer in writers:
            try:
                await writer.wait_closed()
            except OSError:
                pass


def echo(exchange: Exchange) -> None:
    """A script: every frame comes back."""
    exchange.send(exchange.frame)


def attributes_of(exchange: Exchange) -> dict[int, bytes]:
    """Values by numbers of attributes."""
    return dict(exchange.message.attributes)


def granting(*attributes: tuple[a.Attribute[Any], Any]) -> Script:
    """A server without credentials that answers every request with these attributes."""

    def script(exchange: Exchange) -> None:
        is_stun = exchange.frame[0] < 0x40
        if is_stun and exchange.message.message_class == MessageClass.REQUEST:
            exchange.succeed(*attributes)

    return script


def data_indication(*attributes: tuple[a.Attribute[Any], Any]) -> bytes:
    return encode_message(Method.DATA, MessageClass.INDICATION, bytes(12), attributes)


def bare(server: Server) -> TurnClient:
    """A client without credentials."""
    return TurnClient(server, options=ClientOptions(timing=PATIENT))
