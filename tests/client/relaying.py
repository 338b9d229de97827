"""A TURN server of the simplest kind, that refuses what a test tells it to."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from turnd.stun import attributes as a
from turnd.stun.addresses import ChannelNumber, TransportAddress
from turnd.stun.attributes import PasswordAlgorithmEntry
from turnd.stun.channel_data import decode_channel_data_untrusted, encode_channel_data
from turnd.stun.keys import PasswordAlgorithm, long_term_key
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    MessageClass,
    Method,
    encode_message,
)
from turnd.stun.nonce_cookie import SecurityFeature, add_cookie

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.client.scripted import Exchange

REALM = "example.org"
KEY = Integrity(
    long_term_key("alice", REALM, "s3cret", PasswordAlgorithm.SHA256), IntegrityAlgorithm.SHA256
)
OFFER = (PasswordAlgorithmEntry(PasswordAlgorithm.SHA256, b""),)
NONCE = add_cookie(SecurityFeature.PASSWORD_ALGORITHMS, "nonce")


@dataclass
class Allocation:
    """One client's relay."""

    socket: socket.socket
    send: Callable[[bytes], None]
    padded: bool
    channels: dict[int, TransportAddress] = field(default_factory=dict)

    @property
    def relayed(self) -> TransportAddress:
        return TransportAddress(*self.socket.getsockname())

    def receive(self) -> None:
        """A peer's datagram, to the client."""
        data, source = self.socket.recvfrom(65536)
        peer = TransportAddress(*source)
        for number, bound in self.channels.items():
            if bound == peer:
                channel = ChannelNumber(number)
                self.send(encode_channel_data(channel, data, padded=self.padded))
                return
        attributes: list[tuple[a.Attribute[Any], Any]] = [
            (a.XOR_PEER_ADDRESS, peer),
            (a.DATA, data),
        ]
        self.send(encode_message(Method.DATA, MessageClass.INDICATION, bytes(12), attributes))


@dataclass
class Relaying:
    """The script of a server that relays on loopback.

    Attributes:
        refuse: error codes by method.
        refuse_relayed: whether a permission for one of its own relayed addresses is 403.
        lose: every n-th packet from a client to a peer; 0: none.
        announced: the host that relayed addresses are said to have.
    """

    refuse: dict[int, int] = field(default_factory=dict)
    refuse_relayed: bool = False
    lose: int = 0
    announced: str = "127.0.0.1"
    padded: bool = False
    allocations: dict[TransportAddress, Allocation] = field(default_factory=dict)
    sent: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for client in list(self.allocations):
            self._delete(client)

    def __call__(self, exchange: Exchange) -> None:
        if exchange.frame[0] >= 0x40:
            number, data = decode_channel_data_untrusted(exchange.frame)
            allocation = self.allocations[exchange.client]
            self._relay(allocation, allocation.channels[number], data)
            return
        message = exchange.message
        if message.method in self.refuse:
            signed = KEY if message.has_integrity_sha256 else None
            exchange.fail(self.refuse[message.method], integrity=signed)
        elif message.method == Method.BINDING:
            exchange.succeed((a.XOR_MAPPED_ADDRESS, exchange.client))
        elif message.message_class == MessageClass.INDICATION:
            peer, payload = message.get(a.XOR_PEER_ADDRESS), message.get(a.DATA)
            assert peer is not None
            assert payload is not None
            self._relay(self.allocations[exchange.client], peer, payload)
        elif message.verify_integrity(*KEY):
            self._signed(exchange)
        else:
            exchange.fail(401, (a.REALM, REALM), (a.NONCE, NONCE), (a.PASSWORD_ALGORITHMS, OFFER))

    def _signed(self, exchange: Exchange) -> None:
        message = exchange.message
        peer = message.get(a.XOR_PEER_ADDRESS)
        if message.method == Method.ALLOCATE:
            self._allocate(exchange)
            return
        if message.method == Method.REFRESH:
            self._delete(exchange.client)
        elif message.method == Method.CREATE_PERMISSION:
            own = {each.relayed.port for each in self.allocations.values()}
            if self.refuse_relayed and peer is not None and peer.port in own:
                exchange.fail(403, integrity=KEY)
                return
        elif message.method == Method.CHANNEL_BIND:
            number = message.get(a.CHANNEL_NUMBER)
            assert number is not None
            assert peer is not None
            self.allocations[exchange.client].channels[number] = peer
        exchange.succeed((a.LIFETIME, 0), integrity=KEY)

    def _allocate(self, exchange: Exchange) -> None:
        allocation = self.allocations.get(exchange.client)
        if allocation is None:  # else the request was sent again
            relay = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            relay.bind(("127.0.0.1", 0))
            relay.setblocking(False)
            allocation = Allocation(relay, exchange.send, self.padded)
            self.allocations[exchange.client] = allocation
            asyncio.get_running_loop().add_reader(relay, allocation.receive)
        exchange.succeed(
            (a.XOR_RELAYED_ADDRESS, TransportAddress(self.announced, allocation.relayed.port)),
            (a.XOR_MAPPED_ADDRESS, exchange.client),
            (a.LIFETIME, 600),
            integrity=KEY,
        )

    def _relay(self, allocation: Allocation, peer: TransportAddress, data: bytes) -> None:
        self.sent += 1
        if not self.lose or self.sent % self.lose:
            allocation.socket.sendto(data, ("127.0.0.1", peer.port))

    def _delete(self, client: TransportAddress) -> None:
        allocation = self.allocations.pop(client)
        asyncio.get_running_loop().remove_reader(allocation.socket)
        allocation.socket.close()
