"""Frames over TCP and TLS, by asyncio's streams; `StreamFramer` cuts them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.client.data_connection import READ_SIZE, DataConnection, close_stream
from turnd.client.errors import UnreachableError, system_words
from turnd.client.sockaddr import shown_address
from turnd.client.tls import TlsDetails
from turnd.stun.addresses import ChannelNumber, TransportAddress
from turnd.stun.channel_data import encode_channel_data
from turnd.stun.errors import DecodeError
from turnd.stun.framing import StreamFramer

if TYPE_CHECKING:
    import asyncio
    import ssl


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
        return self._address("sockname")

    @property
    def remote(self) -> TransportAddress:
        """The server's transport address."""
        return self._address("peername")

    def _address(self, whose: str) -> TransportAddress:
        name = self._writer.get_extra_info(whose)
        if name is None:  # it was reset before asyncio could ask
            raise UnreachableError("the connection broke at once")
        return shown_address(name)

    async def send(self, data: bytes) -> None:
        """Send a frame; waits while the server does not read."""
        if self._writer.is_closing():
            raise UnreachableError("the connection is closed")
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError as error:
            raise UnreachableError(f"the connection broke: {system_words(error)}") from error

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
                raise UnreachableError(f"the connection broke: {system_words(error)}") from error
            if not chunk_untrusted:
                raise UnreachableError("the server closed the connection")
            self._framer.feed(chunk_untrusted)

    def detach(self) -> DataConnection:
        """Give the stream away, with what followed the last frame."""
        return DataConnection(self._reader, self._writer, self._framer.rest())

    def channel_data(self, number: int, data: bytes) -> bytes:
        """A ChannelData message, padded to four bytes."""
        return encode_channel_data(ChannelNumber(number), data, padded=True)

    async def close(self) -> None:
        """Close the connection and wait until its socket is gone."""
        await close_stream(self._writer)


def _tls_details(writer: asyncio.StreamWriter) -> TlsDetails | None:
    session: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    if session is None:
        return None
    return TlsDetails(
        version=session.version() or "",
        cipher=(session.cipher() or ("",))[0],
        certificate=session.getpeercert(binary_form=True) or b"",
        alpn=session.selected_alpn_protocol(),
    )
