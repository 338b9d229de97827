"""Requests, answers and indications over one connection to a server.

One task reads; it hands each answer to the transaction that waits for it, and what peers sent to
a bounded queue. Everything about time is `Transaction`'s, everything about credentials is
`LongTermCredentials`'.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict, Unpack

from turnd.client.answers import Judge, judge_with, judged, success, take_all
from turnd.client.connection import Connection, ConnectOptions, connect
from turnd.client.credentials import LongTermCredentials, Verdict
from turnd.client.errors import ClientError, UnreachableError
from turnd.client.inbox import Inbox
from turnd.client.stream_connection import StreamConnection
from turnd.client.transactions import RoundTripEstimate, Timing, Transaction
from turnd.stun import attributes as a
from turnd.stun.addresses import ChannelNumber, PeerAddress, TransportAddress
from turnd.stun.channel_data import decode_channel_data_untrusted
from turnd.stun.errors import DecodeError
from turnd.stun.message import Attributes, Message, MessageClass, decode_untrusted, encode_message
from turnd.stun.message_type import Method, join_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.client.data_connection import DataConnection
    from turnd.client.uri import Server

_BOUND = join_type(Method.CONNECTION_BIND, MessageClass.SUCCESS).to_bytes(2, "big")
MAX_CHALLENGES = 4
"""How often one request is sent anew after 401 and 438."""
ANSWERS = 16
"""Answers to one transaction that wait to be judged at most."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How the client behaves.

    Attributes:
        connect: TLS, server name, local address.
        timing: the retransmission schedule.
        rfc5389: MD5 and SHA-1 only, as clients from before RFC 8489 do.
        fingerprint: whether messages end with FINGERPRINT.
        follow_redirects: whether an Allocate that is answered with 300 goes to the server named.
        queue: datagrams from peers that wait for `receive` at most.
        random_bytes: where transaction ids come from.
    """

    connect: ConnectOptions = field(default_factory=ConnectOptions)
    timing: Timing = field(default_factory=Timing)
    rfc5389: bool = False
    fingerprint: bool = True
    follow_redirects: bool = False
    queue: int = 4096
    random_bytes: Callable[[int], bytes] = os.urandom


class How(TypedDict, total=False):
    """Ways to send a request that differ from the usual."""

    authenticate: bool
    """False: bare, and the answer is taken whatever its integrity."""
    retry: bool
    """False: 401 and 438 are raised like other errors."""
    transaction_id: bytes
    """12 bytes in place of random ones."""


class Session:
    """One connection to a server.

    Args:
        server: where to.
        credentials: how to answer challenges; None: not at all.
        options: see `ClientOptions`.
    """

    def __init__(
        self, server: Server, credentials: LongTermCredentials | None, options: ClientOptions
    ) -> None:
        self._server = server
        self._credentials = credentials
        self._options = options
        self._connection: Connection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._pending: dict[bytes, Inbox[Message]] = {}
        self._ended: ClientError | None = None
        self._is_former = False
        self._estimate = RoundTripEstimate(options.timing.rto)
        self.received: Inbox[tuple[PeerAddress, bytes]] = Inbox(options.queue)
        self.icmp_errors: Inbox[tuple[PeerAddress, a.IcmpValue]] = Inbox(options.queue)
        self.attempts: Inbox[tuple[int, PeerAddress]] = Inbox(options.queue)
        """Connections of peers that can be bound, by CONNECTION-ID (RFC 6062)."""
        self.peers: dict[int, PeerAddress] = {}
        """Peers by the channels that lead to them."""
        self.undecodable = 0
        """Frames that were neither STUN nor ChannelData of a channel that is bound."""

    @property
    def connection(self) -> Connection:
        """The connection; its addresses and TLS details.

        Raises:
            UnreachableError: before connecting and after closing.
        """
        if self._connection is None:
            raise UnreachableError("the client is not connected")
        return self._connection

    async def open(self) -> None:
        """Connect.

        Raises:
            UnreachableError: it cannot be done.
        """
        self._connection = await connect(self._server, self._options.connect)
        self._ended = None
        self._reader = asyncio.create_task(self._read(self._connection))

    async def close(self) -> None:
        """Disconnect, cancelled or not; who waits for anything gets `UnreachableError`."""
        reader, self._reader = self._reader, None
        connection, self._connection = self._connection, None
        try:
            if reader is not None:
                reader.cancel()
                await asyncio.wait([reader])
        finally:
            if connection is not None:
                await connection.close()
            self._end(UnreachableError("the client is closed"))

    def succeed(self, former: Session) -> None:
        """Take the place of another connection: what still comes by it is received here as well."""
        self.peers = former.peers
        if former._ended is None:
            former._is_former = True
            self.received, self.icmp_errors = former.received, former.icmp_errors

    def detach(self) -> DataConnection:
        """Leave the connection to who exchanges bytes with a peer: a ConnectionBind has succeeded.

        Raises:
            ClientError: it is no stream.
        """
        connection, self._connection = self.connection, None
        if not isinstance(connection, StreamConnection):
            raise ClientError("a data connection is one of TCP or TLS")
        return connection.detach()

    async def send_channel_data(self, number: ChannelNumber, data: bytes) -> None:
        """Send a ChannelData message."""
        await self.connection.send(self.connection.channel_data(number, data))

    async def indicate(self, method: int, attributes: Attributes = ()) -> None:
        """Send an indication."""
        data = encode_message(
            method,
            MessageClass.INDICATION,
            self._options.random_bytes(12),
            attributes,
            fingerprint=self._options.fingerprint,
        )
        await self.connection.send(data)

    async def request(
        self,
        method: int,
        attributes: Attributes = (),
        **how: Unpack[How],
    ) -> Message:
        """Send a request and await its success response.

        Args:
            method: any 12 bits.
            attributes: what it carries beside credentials.
            how: see `How`.

        Raises:
            StunError: an error response.
            ClientError: no answer, or none to be trusted.
        """
        transaction_id = how.get("transaction_id")
        authenticate, retry = how.get("authenticate", True), how.get("retry", True)
        for _ in range(MAX_CHALLENGES):
            tid = transaction_id or self._options.random_bytes(12)
            response, verdict = await self._transact(method, attributes, tid, authenticate)
            if verdict is Verdict.ACCEPT or not retry:
                return success(response)
            transaction_id = None
        raise ClientError("the server goes on asking for credentials")

    async def exchange(self, data: bytes) -> Message:
        """Send a request that is encoded already, and await whatever answers its transaction."""
        return (await self._await_answer(data[8:20], data, take_all))[0]

    async def _transact(
        self, method: int, attributes: Attributes, transaction_id: bytes, authenticate: bool
    ) -> tuple[Message, Verdict]:
        credentials = self._credentials if authenticate else None
        signing = None if credentials is None else credentials.signing()
        data = encode_message(
            method,
            MessageClass.REQUEST,
            transaction_id,
            [*attributes, *(signing.attributes if signing else ())],
            integrity=signing.integrity if signing else None,
            fingerprint=self._options.fingerprint,
        )
        if credentials is None:
            return await self._await_answer(transaction_id, data, take_all)
        judge = judge_with(credentials, signing)
        return await self._await_answer(transaction_id, data, judge)

    async def _await_answer(
        self, transaction_id: bytes, data: bytes, judge: Judge
    ) -> tuple[Message, Verdict]:
        connection, loop = self.connection, asyncio.get_running_loop()
        if self._ended is not None:  # nobody reads any more: an answer could not arrive
            raise self._ended
        answers: Inbox[Message] = Inbox(ANSWERS)
        self._pending[transaction_id] = answers
        refusals = connection.refusals
        transaction = Transaction(
            data,
            loop.time(),
            self._options.timing,
            reliable=connection.reliable,
            rto=self._estimate.rto(loop.time()),
        )
        try:
            while True:
                if connection.refusals > refusals:
                    raise UnreachableError(f"{self._server}: connection refused")
                request = transaction.poll(loop.time())
                if request is not None:
                    await connection.send(request)
                try:
                    async with asyncio.timeout_at(transaction.next_at):
                        response = await answers.get()
                except TimeoutError:
                    continue
                verdict = judged(judge, response, transaction, reliable=connection.reliable)
                if verdict in {Verdict.ACCEPT, Verdict.RETRY}:
                    sample = transaction.round_trip(loop.time())
                    if sample is not None:
                        self._estimate.update(sample, loop.time())
                    return response, verdict
        finally:
            self._pending.pop(transaction_id, None)

    async def _read(self, connection: Connection) -> None:
        try:
            while True:
                frame_untrusted = await connection.receive()
                self._dispatch(frame_untrusted)
                if frame_untrusted.startswith(_BOUND):
                    return  # what follows is the peer's (RFC 6062 section 4.3)
        except ClientError as error:
            self._end(error)

    def _end(self, error: ClientError) -> None:
        self._ended = error
        if not self._is_former:
            self.received.close(error)
            self.icmp_errors.close(error)
            self.attempts.close(error)
        for answers in self._pending.values():
            answers.close(error)

    def _dispatch(self, frame_untrusted: bytes) -> None:
        try:
            if frame_untrusted[:1] >= b"\x40":
                number, data = decode_channel_data_untrusted(frame_untrusted)
                self._take(self.peers.get(number), data)
                return
            message = decode_untrusted(frame_untrusted)
            if message.message_class == MessageClass.INDICATION:
                self._indicated(message)
                return
        except DecodeError:
            self.undecodable += 1
            return
        answers = self._pending.get(message.transaction_id)
        if answers is not None and message.message_class != MessageClass.REQUEST:
            answers.put(message)

    def _indicated(self, indication: Message) -> None:
        peer, icmp = indication.get(a.XOR_PEER_ADDRESS), indication.get(a.ICMP)
        number = indication.get(a.CONNECTION_ID)
        if peer is not None and number is not None:
            self.attempts.put((number, PeerAddress(peer)))
        elif peer is not None and icmp is not None:
            self.icmp_errors.put((PeerAddress(peer), icmp))
        else:
            self._take(peer, indication.get(a.DATA))

    def _take(self, peer: TransportAddress | None, data: bytes | None) -> None:
        if peer is None or data is None:
            self.undecodable += 1
        else:
            self.received.put((PeerAddress(peer), data))
