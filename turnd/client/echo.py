"""Echoes through a relay: who answers, how many come back, how long they take."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import asyncio_dgram

from turnd.client.errors import UnreachableError
from turnd.client.sockaddr import shown_address
from turnd.client.transactions import Timing, Transaction
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.errors import DecodeError
from turnd.stun.message import Message, MessageClass, Method, decode_untrusted, encode_message

if TYPE_CHECKING:
    from types import TracebackType

    from turnd.client.client import TurnClient

TOKEN = 8
NUMBER = 4
SMALLEST = TOKEN + NUMBER
"""Bytes of a probe at least: a random token, so that nobody else's packet counts, and a number."""


@dataclass(frozen=True, slots=True)
class Probes:
    """What is sent: `count` datagrams of `size` bytes, `interval` seconds apart.

    `patience` is how long, in seconds, the last echo is waited for.
    """

    count: int = 20
    size: int = 160
    interval: float = 0.01
    patience: float = 1.0


@dataclass(frozen=True, slots=True)
class EchoResult:
    """How many were sent, and the round trips of those that came back, in seconds."""

    sent: int
    round_trips: tuple[float, ...]

    @property
    def loss(self) -> float:
        """The share that did not come back, 0 to 1."""
        return 1 - len(self.round_trips) / self.sent


class EchoPeer(Protocol):
    """Who sends back what comes from a relayed transport address."""

    @property
    def address(self) -> TransportAddress:
        """Where the relay reaches it."""
        ...

    async def run(self, relayed: TransportAddress) -> None:
        """Send everything from `relayed` back there, until cancelled."""
        ...


class RelayedPeer:
    """The other end is an allocation of ours too: relay to relay.

    Args:
        client: a client with an allocation and a permission for the other's relayed address.
        address: its relayed transport address.
    """

    def __init__(self, client: TurnClient, address: TransportAddress) -> None:
        self._client = client
        self.address = address

    async def run(self, relayed: TransportAddress) -> None:
        """Send everything from `relayed` back there, until cancelled."""
        while True:
            peer, data = await self._client.receive()
            if peer == relayed:
                await self._client.send(peer, data)


class ReflexivePeer:
    """The other end is a UDP socket of this machine, at the address that the server sees.

    Args:
        server: the server's UDP endpoint, which tells our address.
        timing: of that Binding request.
    """

    def __init__(self, server: TransportAddress, timing: Timing) -> None:
        self._server = server
        self._timing = timing
        self._socket: asyncio_dgram.DatagramServer | None = None
        self.address = TransportAddress("0.0.0.0", 0)  # noqa: S104 - unknown until Binding

    async def __aenter__(self) -> Self:
        """Bind and learn the address.

        Raises:
            ClientError: UDP does not reach the server.
        """
        any_host = "::" if self._server.family is AddressFamily.IPV6 else "0.0.0.0"  # noqa: S104 - any
        try:
            self._socket = await asyncio_dgram.bind((any_host, 0))
        except OSError as error:
            raise UnreachableError(f"no UDP socket: {error.strerror}") from error
        try:
            self.address = await self._binding(self._socket)
        except BaseException:
            self._socket.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()

    async def run(self, relayed: TransportAddress) -> None:
        """Open our NAT towards `relayed`, then send everything from there back."""
        udp = self._socket
        if udp is None:
            raise UnreachableError("the peer's socket is not open")
        waiting: bytes | None = b"\0"
        while True:
            try:
                if waiting is not None:
                    await udp.send(waiting, relayed)
                    waiting = None
                data, sender = await udp.recv()
            except OSError:
                # An ICMP error for an earlier packet, told in place of doing this.
                continue
            except asyncio_dgram.TransportClosed:
                return
            if isinstance(sender, tuple) and shown_address(sender) == relayed:
                waiting = data

    async def _binding(self, udp: asyncio_dgram.DatagramServer) -> TransportAddress:
        transaction_id = os.urandom(12)
        request = encode_message(Method.BINDING, MessageClass.REQUEST, transaction_id, ())
        loop = asyncio.get_running_loop()
        transaction = Transaction(request, loop.time(), self._timing, reliable=False)
        while True:
            data = transaction.poll(loop.time())
            if data is not None:
                await udp.send(data, self._server)
            try:
                async with asyncio.timeout_at(transaction.next_at):
                    answer = await _answer(udp, transaction_id)
            except TimeoutError:
                continue
            mapped = answer.get(a.XOR_MAPPED_ADDRESS)
            if mapped is not None:
                return mapped


async def _answer(udp: asyncio_dgram.DatagramServer, transaction_id: bytes) -> Message:
    while True:
        try:
            data_untrusted, _ = await udp.recv()
            message = decode_untrusted(data_untrusted)
            if message.transaction_id == transaction_id:
                message.get(a.XOR_MAPPED_ADDRESS)
                return message
        except (OSError, DecodeError):
            continue


async def measure(
    client: TurnClient, peer: EchoPeer, relayed: TransportAddress, probes: Probes
) -> EchoResult:
    """Send probes to a peer that echoes; half as indications, half over a channel.

    Args:
        client: has an allocation and a permission for the peer.
        peer: answers; is run meanwhile.
        relayed: the client's relayed transport address, as the peer sees it.
        probes: how many and how fast.

    Raises:
        ClientError: the channel was refused, or the connection broke.
    """
    token = os.urandom(TOKEN)
    sent_at: dict[int, float] = {}
    round_trips: dict[int, float] = {}
    answering = asyncio.create_task(peer.run(relayed))
    collecting = asyncio.create_task(_collect(client, token, sent_at, round_trips, probes.count))
    try:
        await _send_all(client, peer.address, token, sent_at, probes)
        await asyncio.wait([collecting], timeout=probes.patience)
    finally:
        for task in (answering, collecting):
            task.cancel()
        await asyncio.wait([answering, collecting])
    for task in (answering, collecting):
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    return EchoResult(probes.count, tuple(round_trips.values()))


async def _send_all(
    client: TurnClient,
    peer: TransportAddress,
    token: bytes,
    sent_at: dict[int, float],
    probes: Probes,
) -> None:
    loop = asyncio.get_running_loop()
    padding = bytes(max(0, probes.size - SMALLEST))
    for number in range(probes.count):
        if number == probes.count // 2:
            await client.channel_bind(peer)
        sent_at[number] = loop.time()
        await client.send(peer, token + number.to_bytes(NUMBER, "big") + padding)
        await asyncio.sleep(probes.interval)


async def _collect(
    client: TurnClient,
    token: bytes,
    sent_at: dict[int, float],
    round_trips: dict[int, float],
    count: int,
) -> None:
    loop = asyncio.get_running_loop()
    while len(round_trips) < count:
        _, data = await client.receive()
        number = int.from_bytes(data[TOKEN:SMALLEST], "big")
        if data[:TOKEN] == token and number in sent_at:
            round_trips.setdefault(number, loop.time() - sent_at[number])
