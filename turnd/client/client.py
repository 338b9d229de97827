"""A TURN client (RFC 8656) over UDP, DTLS, TCP or TLS: for `turnd check`, probes and tests.

It does what it is told and little by itself: refreshing in time is the caller's business, a
redirect is followed where the options say so, and a port that a client before us has left an
allocation at is given up for another. What peers send waits in a bounded queue until `receive`
takes it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, Unpack

from turnd.client.allocating import Allocated, AllocateWishes, allocated, wished
from turnd.client.answers import read
from turnd.client.errors import ClientError, StunError
from turnd.client.redirect import elsewhere
from turnd.client.route import Route
from turnd.client.session import ClientOptions, How
from turnd.client.uri import Server, server_of
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, ChannelNumber, PeerAddress, TransportAddress
from turnd.stun.errors import ErrorCode
from turnd.stun.message import Attributes, Message, Method

if TYPE_CHECKING:
    from types import TracebackType

    from turnd.client.connection import Connection, ConnectOptions
    from turnd.client.credentials import LongTermCredentials
    from turnd.client.data_connection import DataConnection
    from turnd.stun.attributes import Attribute

CLIENT_ADDRESSES = 3
"""From how many addresses of ours to ask while the server takes them for another client's."""
GOODBYE_LIMIT = 2.0
"""Seconds that deleting the allocation may take when the client closes."""


class TurnClient:
    """One connection to a server and the allocation on it.

    Args:
        server: a `Server` or a URI such as `turn:turn.example.org?transport=tcp`.
        username: for the long-term credential mechanism; None: never answer a challenge.
        password: plain.
        options: see `ClientOptions`.

    All methods that await an answer raise `StunError` for the server's refusal and another
    `ClientError` for everything else.
    """

    def __init__(
        self,
        server: Server | str,
        username: str | None = None,
        password: str = "",
        options: ClientOptions | None = None,
    ) -> None:
        options = options or ClientOptions()
        user = None if username is None else (username, password)
        self._route = Route(server_of(server), user, options)
        self._follows = options.follow_redirects
        self._channels: dict[PeerAddress, ChannelNumber] = {}
        self._allocated = False
        self._ticket: bytes | None = None

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._route.session.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Delete the allocation and close."""
        await self.close()

    @property
    def server(self) -> Server:
        """The server, and how it is reached."""
        return self._route.server

    @property
    def credentials(self) -> LongTermCredentials | None:
        """What answers its challenges."""
        return self._route.credentials

    @property
    def connection(self) -> Connection:
        """The connection; its addresses and TLS details."""
        return self._route.session.connection

    @property
    def dropped(self) -> int:
        """Datagrams from peers that `receive` was too slow for."""
        return self._route.session.received.dropped

    @property
    def undecodable(self) -> int:
        """Frames that were neither STUN nor ChannelData of a channel that is bound."""
        return self._route.session.undecodable

    async def close(self, *, delete: bool = True) -> None:
        """Delete the allocation, if there is one and unless told not to, and disconnect."""
        try:
            if delete and self._allocated:
                await self._delete()
        finally:
            self._allocated = False
            await self._route.close()

    async def _delete(self) -> None:
        try:
            async with asyncio.timeout(GOODBYE_LIMIT):
                await self.refresh(0)
        except (ClientError, TimeoutError):
            return  # The server ends it by itself when its lifetime is over.

    async def binding(self) -> TransportAddress:
        """Our address as the server sees it (RFC 8489 section 2); needs no credentials."""
        response = await self.request(Method.BINDING, authenticate=False)
        mapped = read(response, a.XOR_MAPPED_ADDRESS)
        if mapped is None:
            raise ClientError("the answer has no XOR-MAPPED-ADDRESS")
        return mapped

    async def allocate(self, **wishes: Unpack[AllocateWishes]) -> Allocated:
        """Ask for relayed transport addresses (RFC 8656 section 7.1)."""
        response = await self._allocate(wished(wishes))
        got = allocated(response)
        self._allocated = True
        self._ticket = read(response, a.MOBILITY_TICKET)
        return got

    async def refresh(
        self, lifetime: int | None = None, family: AddressFamily | None = None
    ) -> int:
        """Extend the allocation, or delete it with 0; the lifetime granted, in seconds."""
        attributes: list[tuple[Attribute[Any], Any]] = []
        if lifetime is not None:
            attributes.append((a.LIFETIME, lifetime))
        if family is not None:
            attributes.append((a.REQUESTED_ADDRESS_FAMILY, family))
        response = await self.request(Method.REFRESH, attributes)
        if lifetime == 0 and family is None:
            self._allocated = False
            self._channels.clear()
            self._route.session.peers.clear()
        return read(response, a.LIFETIME) or 0

    async def move(
        self, server: Server | str | None = None, connect: ConnectOptions | None = None
    ) -> None:
        """Take the allocation along to another connection (RFC 8016 section 3.2).

        The former one stays open for what still comes by it, since the server goes on using it
        until we send to a peer; `leave` closes it.

        Args:
            server: another endpoint or transport of it; None: the same.
            connect: how to; None: as before.

        Raises:
            ClientError: it cannot be done, and all is as it was.
        """
        if self._ticket is None:
            raise ClientError("the server gave no mobility ticket")
        to = self.server if server is None else server_of(server)
        self._ticket = await self._route.move(self._ticket, to, connect)

    async def leave(self) -> None:
        """Close the connection that we have moved from, if there is one."""
        await self._route.leave()

    async def create_permission(self, *peers: str | TransportAddress) -> None:
        """Let peers, given by host or transport address, send to us (RFC 8656 section 9)."""
        addresses = [TransportAddress(p, 0) if isinstance(p, str) else p for p in peers]
        attributes = [(a.XOR_PEER_ADDRESS, address) for address in addresses]
        await self.request(Method.CREATE_PERMISSION, attributes)

    async def channel_bind(
        self, peer: TransportAddress, number: int | None = None
    ) -> ChannelNumber:
        """Bind a channel to a peer, or refresh it (RFC 8656 section 12).

        Args:
            peer: where the channel leads.
            number: None: the peer's, else the lowest free one.
        """
        to = PeerAddress(peer)
        if number is None:
            number = self._channels.get(to) or self._free_number()
        channel = ChannelNumber(number)
        await self.request(
            Method.CHANNEL_BIND, [(a.CHANNEL_NUMBER, channel), (a.XOR_PEER_ADDRESS, peer)]
        )
        self._channels[to] = channel
        self._route.session.peers[channel] = to
        return channel

    async def send(
        self, peer: TransportAddress, data: bytes, *, dont_fragment: bool = False
    ) -> None:
        """Send to a peer: by its channel, else by a Send indication."""
        number = self._channels.get(PeerAddress(peer))
        if number is not None and not dont_fragment:
            await self._route.session.send_channel_data(number, data)
            return
        attributes: list[tuple[Attribute[Any], Any]] = [
            (a.XOR_PEER_ADDRESS, peer),
            (a.DATA, data),
        ]
        if dont_fragment:
            attributes.append((a.DONT_FRAGMENT, True))
        await self.indicate(Method.SEND, attributes)

    async def receive(self) -> tuple[PeerAddress, bytes]:
        """The next datagram that a peer has sent, by channel or Data indication."""
        return await self._route.session.received.get()

    async def receive_icmp_error(self) -> tuple[PeerAddress, a.IcmpValue]:
        """The next ICMP error that a packet to a peer met with, and which peer's (section 11.6)."""
        return await self._route.session.icmp_errors.get()

    async def connect(self, peer: TransportAddress) -> int:
        """Have the server connect to a peer by TCP; the CONNECTION-ID (RFC 6062 section 4.3)."""
        response = await self.request(Method.CONNECT, [(a.XOR_PEER_ADDRESS, peer)])
        number = read(response, a.CONNECTION_ID)
        if number is None:
            raise ClientError("the answer has no CONNECTION-ID")
        return number

    async def next_attempt(self) -> tuple[int, PeerAddress]:
        """The next connection that a peer has made: its CONNECTION-ID, and whose it is."""
        return await self._route.session.attempts.get()

    async def bind_connection(self, number: int) -> DataConnection:
        """Come for a connection by another stream to the server, which is one with it then."""
        session = self._route.beside()
        try:
            await session.open()
            await session.request(Method.CONNECTION_BIND, [(a.CONNECTION_ID, number)])
            return session.detach()
        finally:
            await session.close()

    async def indicate(self, method: int, attributes: Attributes = ()) -> None:
        """Send an indication."""
        await self._route.session.indicate(method, attributes)

    async def request(
        self, method: int, attributes: Attributes = (), **how: Unpack[How]
    ) -> Message:
        """Send any request and await its success response; see `Session.request`."""
        return await self._route.session.request(method, attributes, **how)

    async def exchange(self, data: bytes) -> Message:
        """Send a request that is encoded already, and await whatever answers its transaction."""
        return await self._route.session.exchange(data)

    async def _allocate(self, attributes: Attributes) -> Message:
        """Where the first server sends us, if we follow: once to each (RFC 8489 section 10)."""
        asked: set[TransportAddress] = set()
        while True:
            here = self.connection.remote
            try:
                return await self._allocate_here(attributes)
            except StunError as error:
                there = elsewhere(error, here.family) if self._follows else None
                asked.add(here)
                if there is None or there.address in asked:
                    raise
            await self._route.redirect(there)

    async def _allocate_here(self, attributes: Attributes) -> Message:
        """From another port where ours is one of a client that has gone (RFC 8656 section 7.4)."""
        for _ in range(CLIENT_ADDRESSES - 1):
            try:
                return await self.request(Method.ALLOCATE, attributes)
            except StunError as error:
                if error.code != ErrorCode.ALLOCATION_MISMATCH or self._allocated:
                    raise
            await self._route.reopen()
        return await self.request(Method.ALLOCATE, attributes)

    def _free_number(self) -> int:
        number = 0x4000
        while number in self._route.session.peers:
            number += 1
        return number
