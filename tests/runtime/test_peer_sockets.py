from __future__ import annotations

import errno
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.waiting import LIMIT, eventually
from turnd.engine.base import RelayError, RelayId
from turnd.listeners.gate import NO_LINGER
from turnd.runtime import peer_sockets
from turnd.runtime.peer_sockets import TcpPeerSockets
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from turnd.turn.server import TurnServer


class Told:
    """What the core hears; it lets in whoever comes from a host that is permitted."""

    def __init__(self) -> None:
        self.arrived: list[tuple[RelayId, TransportAddress]] = []
        self.connected: list[tuple[int, str | None]] = []
        self.permits = True

    def peer_arrived(self, relay: RelayId, source: TransportAddress, now: float) -> int | None:
        assert now > 0
        self.arrived.append((relay, source))
        return len(self.arrived) if self.permits else None

    def peer_connected(self, number: int, failure: str | None, now: float) -> None:
        assert now > 0
        self.connected.append((number, failure))


class Stage:
    """Peer sockets, a relayed transport address, and peers on loopback."""

    def __init__(self, host: str) -> None:
        self.told = Told()
        self.sockets = TcpPeerSockets()
        self.sockets.start(cast("TurnServer", self.told))
        self.host = host
        self.peers: list[socket.socket] = []

    def listen(self) -> tuple[RelayId, TransportAddress]:
        while True:
            with socket.socket(self.family) as probe:
                probe.bind((self.host, 0))
                bound = address_of(probe.getsockname())
            relay = self.sockets.listen(bound)
            if not isinstance(relay, RelayError):
                return relay, bound
            assert relay is RelayError.PORT_TAKEN

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def elsewhere(self) -> str:
        """A host that loopback does not reach."""
        return "2001:db8::1" if ":" in self.host else "192.0.2.1"

    def nobody(self) -> TransportAddress:
        """Where nobody listens, and nobody else will."""
        holder = socket.socket(self.family)
        holder.bind((self.host, 0))
        self.peers.append(holder)
        return address_of(holder.getsockname())

    def comes(
        self, bound: TransportAddress, source: TransportAddress | None = None
    ) -> socket.socket:
        peer = socket.socket(self.family)
        self.peers.append(peer)
        peer.settimeout(LIMIT)
        if source is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            peer.bind(source)
        peer.connect(bound)
        return peer

    def kept(self) -> TransportAddress:
        """Where a peer may come from again: the port stays ours when it has gone.

        The system gives one that it chooses at `connect` to several sockets, to each with another
        destination, so that it could not be bound.
        """
        holder = socket.socket(self.family)
        self.peers.append(holder)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((self.host, 0))
        return address_of(holder.getsockname())

    def waits(self) -> tuple[socket.socket, TransportAddress]:
        server = socket.create_server((self.host, 0), family=self.family)
        server.settimeout(LIMIT)
        self.peers.append(server)
        return server, address_of(server.getsockname())

    def close(self) -> None:
        self.sockets.stop()
        for peer in self.peers:
            peer.close()


@pytest.fixture(params=["127.0.0.1", "::1"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    stage = Stage(request.param)
    yield stage
    stage.close()


def address_of(name: Any) -> TransportAddress:
    return TransportAddress(*name[:2])


def assert_reset(peer: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        peer.recv(1)


async def test_who_comes_is_told_and_stays_unread(stage: Stage) -> None:
    relay, bound = stage.listen()
    peer = stage.comes(bound)
    peer.sendall(b"early")
    await eventually(lambda: stage.told.arrived)
    assert stage.told.arrived == [(relay, address_of(peer.getsockname()))]
    with socket.socket(fileno=stage.sockets.take(1)) as ours:
        assert not os.get_blocking(ours.fileno())
        assert await eventually(lambda: ours.recv(9)) == b"early"
    assert peer.recv(9) == b""


async def test_who_is_not_let_in_is_reset(stage: Stage) -> None:
    _, bound = stage.listen()
    stage.told.permits = False
    peer = stage.comes(bound)
    await eventually(lambda: stage.told.arrived)
    assert_reset(peer)


async def test_the_same_peer_comes_twice_only_when_it_has_reset_the_first(stage: Stage) -> None:
    """What the core takes for granted of the system."""
    _, bound = stage.listen()
    source = stage.kept()
    first = stage.comes(bound, source)
    await eventually(lambda: stage.told.arrived)
    first.setsockopt(*NO_LINGER)
    first.close()
    stage.comes(bound, source)
    await eventually(lambda: len(stage.told.arrived) == 2)
    assert stage.told.arrived[0] == stage.told.arrived[1]
    stage.sockets.drop(1)


async def test_who_reconnects_after_both_ends_have_closed(stage: Stage) -> None:
    """Although the first connection rests on our side (TIME-WAIT), thanks to its timestamps."""
    relay, _ = stage.listen()
    server, target = stage.waits()
    for number in (1, 2, 3):
        stage.sockets.connect(number, relay, target)
        await eventually(lambda: stage.told.connected)
        assert stage.told.connected.pop() == (number, None)
        peer, _ = server.accept()
        with peer, socket.socket(fileno=stage.sockets.take(number)) as ours:
            ours.shutdown(socket.SHUT_WR)
            assert peer.recv(1) == b""
            peer.close()
            assert await eventually(partial(has_ended, ours))


def has_ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False


async def test_a_flood_is_taken_in_batches(stage: Stage) -> None:
    _, bound = stage.listen()
    for _ in range(2 * peer_sockets.AT_ONCE + 1):
        stage.comes(bound)
    await eventually(lambda: len(stage.told.arrived) == 2 * peer_sockets.AT_ONCE + 1)


async def test_a_connection_leaves_from_the_relayed_address(stage: Stage) -> None:
    relay, bound = stage.listen()
    for number in (101, 102):  # to several peers at a time
        server, target = stage.waits()
        stage.sockets.connect(number, relay, target)
        await eventually(lambda: stage.told.connected)
        assert stage.told.connected.pop() == (number, None)
        peer, source = server.accept()
        stage.peers.append(peer)
        assert address_of(source) == bound
    stage.comes(bound)
    await eventually(lambda: stage.told.arrived)
    with socket.socket(fileno=stage.sockets.take(1)) as ours:
        assert address_of(ours.getsockname()) == bound


async def test_a_failure_is_told_later_and_says_why(stage: Stage) -> None:
    relay, _ = stage.listen()
    stage.sockets.connect(7, relay, stage.nobody())
    assert stage.told.connected == []
    await eventually(lambda: stage.told.connected)
    assert stage.told.connected == [(7, "Connection refused")]
    stage.sockets.drop(7)
    no_route = TransportAddress(stage.elsewhere, 9)
    stage.sockets.connect(8, relay, no_route)
    assert len(stage.told.connected) == 1
    await eventually(lambda: len(stage.told.connected) == 2)
    assert stage.told.connected[1][0] == 8
    assert stage.told.connected[1][1] is not None


async def test_without_descriptors_a_connect_fails(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, _ = stage.listen()
    _, target = stage.waits()

    def exhausted(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", exhausted)
        stage.sockets.connect(3, relay, target)
        assert stage.sockets.listen(target) is RelayError.NO_DESCRIPTORS
    await eventually(lambda: stage.told.connected)
    assert stage.told.connected == [(3, "Too many open files")]


async def test_accepting_pauses_while_descriptors_are_short(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_sockets, "PAUSE", 0.01)
    relay, bound = stage.listen()
    listening = stage.sockets._relays[relay]
    tries = iter((errno.EMFILE, errno.EMFILE, errno.ECONNABORTED))

    class Short:
        def __getattr__(self, name: str) -> Any:
            return getattr(listening, name)

        def accept(self) -> Any:
            error = next(tries, None)
            if error is not None:
                raise OSError(error, os.strerror(error))
            return listening.accept()

    stage.sockets._relays[relay] = cast("socket.socket", Short())
    stage.comes(bound)
    await eventually(lambda: stage.told.arrived)
    assert await eventually(lambda: not stage.sockets._exhausted)
    stage.sockets._relays[relay] = listening


async def test_where_it_cannot_listen_it_says_why(stage: Stage) -> None:
    _, taken = stage.listen()
    assert stage.sockets.listen(taken) is RelayError.PORT_TAKEN
    nowhere = TransportAddress(stage.elsewhere, taken.port)
    assert stage.sockets.listen(nowhere) is RelayError.NO_SUCH_ADDRESS


async def test_another_program_that_listens_is_noticed(stage: Stage) -> None:
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        with socket.socket(stage.family) as other:
            other.setsockopt(socket.SOL_SOCKET, option, 1)
            other.bind((stage.host, 0))
            other.listen()
            assert stage.sockets.listen(address_of(other.getsockname())) is RelayError.PORT_TAKEN


async def test_an_address_can_be_had_again_at_once(stage: Stage) -> None:
    relay, bound = stage.listen()
    peer = stage.comes(bound)
    await eventually(lambda: stage.told.arrived)
    stage.sockets.close(relay)
    assert not isinstance(stage.sockets.listen(bound), RelayError)
    stage.sockets.drop(1)
    assert_reset(peer)


async def test_what_is_dropped_is_closed_and_tells_nothing_more(stage: Stage) -> None:
    relay, _ = stage.listen()
    _, target = stage.waits()
    stage.sockets.connect(1, relay, target)
    stage.sockets.drop(1)
    stage.sockets.drop(1)
    stage.sockets.connect(2, relay, target)
    await eventually(lambda: stage.told.connected)
    assert stage.told.connected == [(2, None)]


async def test_the_end_closes_all_and_tells_nobody(stage: Stage) -> None:
    relay, bound = stage.listen()
    peer = stage.comes(bound)
    await eventually(lambda: stage.told.arrived)
    stage.sockets.connect(9, relay, stage.nobody())
    stage.sockets.stop()
    assert_reset(peer)
    assert stage.told.connected == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound, LIMIT)
