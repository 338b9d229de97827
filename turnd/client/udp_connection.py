"""Datagrams to and from a server, by asyncio-dgram."""

from __future__ import annotations

import asyncio_dgram

from turnd.client.errors import UnreachableError
from turnd.client.sockaddr import shown_address
from turnd.stun.addresses import ChannelNumber, TransportAddress
from turnd.stun.channel_data import encode_channel_data


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
        return shown_address(self._stream.sockname)

    @property
    def remote(self) -> TransportAddress:
        """The server's transport address."""
        return shown_address(self._stream.peername)

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
