"""TCP sockets of relayed transport addresses (RFC 6062): see `turnd.turn.peer_sockets`.

A relayed transport address is where peers connect to and where connections to peers come from, so
that several sockets share it. Linux lets them when each says so (SO_REUSEADDR and SO_REUSEPORT);
the listening one says so only when it is bound, and thereby still learns when somebody else listens
there.

Accepting is bounded: so many a turn of the event loop, the kernel's queue behind it, and a pause
when descriptors run out, during which peers wait.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from itertools import count
from typing import TYPE_CHECKING

from turnd import logs
from turnd.engine.base import RelayError, RelayId
from turnd.engine.sockaddr import raw_address, shown_address
from turnd.engine.sockets import relay_error
from turnd.listeners.accept import CONNECTION_ERRORS, bind_tcp
from turnd.listeners.gate import NO_LINGER
from turnd.stun.addresses import AddressFamily

if TYPE_CHECKING:
    from turnd.stun.addresses import TransportAddress
    from turnd.turn.server import TurnServer

AT_ONCE = 16
"""Peers' connections of one relayed transport address that a turn of the loop accepts at most."""
BACKLOG = 64
PAUSE = 0.5
"""Seconds without accepting after the system ran out of something."""

log = logs.get_logger("turnd.runtime.peer_sockets")


class TcpPeerSockets:
    """See `PeerSockets`, whose verbs these are; works in the running event loop."""

    def __init__(self) -> None:
        self._turn: TurnServer | None = None
        self._relays: dict[RelayId, socket.socket] = {}
        self._connections: dict[int, socket.socket] = {}
        self._ids = map(RelayId, count(1))
        self._exhausted = False

    def start(self, turn: TurnServer) -> None:
        """Whom to tell what happens."""
        self._turn = turn

    def stop(self) -> None:
        """Close everything, and tell nobody."""
        self._turn = None
        for relay in list(self._relays):
            self.close(relay)
        for number in list(self._connections):
            self.drop(number)

    def listen(self, bound: TransportAddress) -> RelayId | RelayError:
        """Bind a relayed transport address."""
        try:
            listening = bind_tcp(bound)
        except OSError as error:
            return relay_error(error)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.setblocking(False)
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            return relay_error(error)
        relay = next(self._ids)
        self._relays[relay] = listening
        self._resume(relay)
        return relay

    def close(self, relay: RelayId) -> None:
        """Free the relayed transport address."""
        listening = self._relays.pop(relay)
        asyncio.get_running_loop().remove_reader(listening)
        listening.close()

    def connect(self, number: int, relay: RelayId, target: TransportAddress) -> None:
        """Begin to connect from the relayed transport address."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if target.family is AddressFamily.IPV6 else socket.AF_INET
        try:
            connecting = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            loop.call_soon(self._tell, number, error.errno)
            return
        self._connections[number] = connecting
        try:
            connecting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connecting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            connecting.bind(self._relays[relay].getsockname())
            failed = connecting.connect_ex(raw_address(target))
        except OSError as error:
            failed = error.errno or errno.EIO
        if failed == errno.EINPROGRESS:
            loop.add_writer(connecting, self._connected, number)
        else:
            loop.call_soon(self._tell, number, failed)

    def take(self, number: int) -> int:
        """Give the descriptor of a connection away."""
        return self._connections.pop(number).detach()

    def drop(self, number: int) -> None:
        """Close a connection, or give up making it."""
        connection = self._connections.pop(number, None)
        if connection is not None:
            asyncio.get_running_loop().remove_writer(connection)
            _reset(connection)

    def _connected(self, number: int) -> None:
        connection = self._connections[number]
        asyncio.get_running_loop().remove_writer(connection)
        self._tell(number, connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _tell(self, number: int, error: int | None) -> None:
        if self._turn is not None:
            failure = os.strerror(error) if error else None
            self._turn.peer_connected(number, failure, time.monotonic())

    def _accept(self, relay: RelayId) -> None:
        for _ in range(AT_ONCE):
            listening = self._relays.get(relay)
            if listening is None or self._turn is None:
                return  # what the last one made of it
            try:
                connection, source = listening.accept()
            except BlockingIOError:
                self._drained(listening)
                return
            except OSError as error:
                if error.errno not in CONNECTION_ERRORS:
                    self._pause(relay, error)
                    return
                continue
            self._let_in(self._turn, relay, connection, shown_address(source))

    def _let_in(
        self,
        turn: TurnServer,
        relay: RelayId,
        connection: socket.socket,
        source: TransportAddress,
    ) -> None:
        number = turn.peer_arrived(relay, source, time.monotonic())
        if number is None:
            _reset(connection)
            return
        connection.setblocking(False)
        self._connections[number] = connection

    def _pause(self, relay: RelayId, error: OSError) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._relays[relay])
        loop.call_later(PAUSE, self._resume, relay)
        if self._exhausted:
            return
        self._exhausted = True
        endpoint = str(shown_address(self._relays[relay].getsockname()))
        reason = os.strerror(error.errno or 0)
        log.warning("accept_paused", endpoint=endpoint, error=reason, open=len(self._connections))

    def _drained(self, listening: socket.socket) -> None:
        """Nobody waits any more: the shortage is over."""
        if self._exhausted:
            self._exhausted = False
            endpoint = str(shown_address(listening.getsockname()))
            log.info("accept_resumed", endpoint=endpoint, open=len(self._connections))

    def _resume(self, relay: RelayId) -> None:
        listening = self._relays.get(relay)
        if listening is not None:
            asyncio.get_running_loop().add_reader(listening, self._accept, relay)


def _reset(connection: socket.socket) -> None:
    """Close without a rest: the same two addresses may be connected again at once."""
    connection.setsockopt(*NO_LINGER)
    connection.close()
