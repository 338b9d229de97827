from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.waiting import LIMIT
from turnd.engine.base import Leg, ListenerId, RelayEngine, Transport
from turnd.listeners import accept
from turnd.listeners.accept import StreamAcceptor, StreamEndpoint
from turnd.listeners.caps import StreamCaps, StreamRefusal
from turnd.listeners.passthrough import Passthrough
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTENER = ListenerId(7)


class AdoptingEngine:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.legs: dict[Leg, socket.socket] = {}
        self.first_bytes: list[bytes] = []

    def adopt(
        self,
        fd: int,
        listener: ListenerId,
        transport: Transport,
        client: ClientAddress,
        local: ServerAddress,
        first_bytes: bytes = b"",
    ) -> Leg:
        self.first_bytes.append(first_bytes)
        leg = Leg(listener, transport, local, client, len(self.legs) + 1)
        self.legs[leg] = socket.socket(fileno=fd)
        return leg

    def close(self) -> None:
        for stream in self.legs.values():
            stream.close()


class Stage:
    """An acceptor on loopback with all that stands around it."""

    def __init__(self) -> None:
        self.engine = AdoptingEngine()
        self.caps = StreamCaps()
        self.passthrough = Passthrough(self.caps, self.report)
        self.events: list[tuple[str, dict[str, object]]] = []
        self.acceptors: list[StreamAcceptor] = []
        self.clients: list[socket.socket] = []

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))

    def acceptor(
        self,
        host: str = "127.0.0.1",
        fd: int | None = None,
        accepts: tuple[Transport, ...] = (Transport.TCP,),
        port: int = 0,
    ) -> StreamAcceptor:
        endpoint = StreamEndpoint(TransportAddress(host, port), accepts, fd)
        engine = cast("RelayEngine", self.engine)
        made = StreamAcceptor(engine, LISTENER, endpoint, self.caps, self.passthrough, self.report)
        self.acceptors.append(made)
        return made

    def connect(self, to: TransportAddress, host: str | None = None) -> socket.socket:
        family = socket.AF_INET6 if ":" in to.host else socket.AF_INET
        client = socket.socket(family, socket.SOCK_STREAM)
        self.clients.append(client)
        if host is not None:
            client.bind((host, 0))
        client.connect((to.host, to.port))
        client.setblocking(False)
        return client

    def close(self) -> None:
        for acceptor in self.acceptors:
            acceptor.close()
        for client in self.clients:
            client.close()
        self.engine.close()


@pytest.fixture
async def stage() -> Any:
    made = Stage()
    yield made
    made.close()


async def until(condition: Any) -> None:
    """Let the loop turn until the condition holds; the loop's own selector does the waiting."""
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 - what it waits for is the loop's own next turns
            await asyncio.sleep(0)


async def was_reset(client: socket.socket) -> bool:
    async with asyncio.timeout(LIMIT):
        try:
            return await asyncio.get_running_loop().sock_recv(client, 1) == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connection_becomes_a_leg(stage: Stage, host: str) -> None:
    acceptor = stage.acceptor(host, accepts=(Transport.TLS,))
    acceptor.start()
    client = stage.connect(acceptor.endpoint)
    await until(lambda: stage.engine.legs)
    (leg, adopted), *_ = stage.engine.legs.items()
    assert leg.listener == acceptor.listener == LISTENER
    assert leg.transport is Transport.TLS
    assert leg.client == TransportAddress(host, client.getsockname()[1])
    assert leg.local == acceptor.endpoint
    assert adopted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not os.get_blocking(adopted.fileno())
    assert stage.engine.first_bytes == [b""]
    assert acceptor.opened == {Transport.TLS: 1}
    assert stage.caps.open == 1


async def test_nothing_is_accepted_before_start(stage: Stage) -> None:
    acceptor = stage.acceptor()
    stage.connect(acceptor.endpoint)
    for _ in range(20):
        await asyncio.sleep(0)
    assert stage.engine.legs == {}
    acceptor.start()
    await until(lambda: stage.engine.legs)


async def test_a_wildcard_endpoint_knows_which_address_was_asked(stage: Stage) -> None:
    acceptor = stage.acceptor("0.0.0.0")
    acceptor.start()
    port = acceptor.endpoint.port
    for host in ("127.0.0.1", "127.0.0.2"):
        stage.connect(TransportAddress(host, port))
    await until(lambda: len(stage.engine.legs) == 2)
    assert {leg.local for leg in stage.engine.legs} == {
        TransportAddress("127.0.0.1", port),
        TransportAddress("127.0.0.2", port),
    }


async def test_an_ipv6_wildcard_leaves_ipv4_to_its_own_endpoint(stage: Stage) -> None:
    for _ in range(20):  # somebody else may have a port of IPv4, but not every one
        v6 = stage.acceptor("::")
        try:
            other = stage.acceptor("0.0.0.0", port=v6.endpoint.port)
        except OSError:
            continue
        assert other.endpoint.port == v6.endpoint.port
        return
    pytest.fail("the port is IPv4's as well")


async def test_an_inherited_dual_stack_socket_shows_ipv4_clients_as_such(stage: Stage) -> None:
    inherited = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    acceptor = stage.acceptor("::", fd=inherited.detach())
    acceptor.start()
    stage.connect(TransportAddress("127.0.0.1", acceptor.endpoint.port))
    await until(lambda: stage.engine.legs)
    (leg,) = stage.engine.legs
    assert leg.client.host == leg.local.host == "127.0.0.1"


async def test_a_taken_port_is_an_error_at_once(stage: Stage) -> None:
    taken = stage.acceptor().endpoint
    with pytest.raises(OSError, match="in use") as caught:
        stage.acceptor(port=taken.port)
    assert caught.value.errno == errno.EADDRINUSE


async def test_one_address_may_not_take_all(stage: Stage) -> None:
    stage.caps.per_client = 2
    acceptor = stage.acceptor()
    acceptor.start()
    for _ in range(2):
        stage.connect(acceptor.endpoint)
    await until(lambda: len(stage.engine.legs) == 2)
    assert await was_reset(stage.connect(acceptor.endpoint))
    stage.connect(acceptor.endpoint, host="127.0.0.9")
    await until(lambda: len(stage.engine.legs) == 3)
    assert stage.caps.refused[StreamRefusal.PER_CLIENT] == 1


async def test_a_leg_that_closed_frees_its_place_once(stage: Stage) -> None:
    stage.caps.total = 1
    acceptor = stage.acceptor()
    acceptor.start()
    stage.connect(acceptor.endpoint)
    await until(lambda: stage.engine.legs)
    assert await was_reset(stage.connect(acceptor.endpoint))
    (leg,) = stage.engine.legs
    acceptor.leg_closed(leg)
    acceptor.leg_closed(leg)
    assert stage.caps.open == 0
    stage.connect(acceptor.endpoint)
    await until(lambda: len(stage.engine.legs) == 2)
    assert stage.caps.refused[StreamRefusal.TOTAL] == 1


async def test_close_ends_accepting_but_not_the_streams(stage: Stage) -> None:
    acceptor = stage.acceptor()
    acceptor.start()
    endpoint = acceptor.endpoint
    stage.connect(endpoint)
    await until(lambda: stage.engine.legs)
    acceptor.close()
    acceptor.close()
    with pytest.raises(ConnectionRefusedError):
        stage.connect(endpoint)
    (leg,) = stage.engine.legs
    assert stage.engine.legs[leg].fileno() >= 0
    acceptor.leg_closed(leg)
    assert stage.caps.open == 0


async def test_one_turn_accepts_a_batch_at_most(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "BATCH", 3)
    acceptor = stage.acceptor()
    for _ in range(5):
        stage.connect(acceptor.endpoint)
    acceptor._accept_batch()
    assert len(stage.engine.legs) == 3
    acceptor._accept_batch()
    assert len(stage.engine.legs) == 5


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """The process may open no more; what is open stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = socket.socket()
    limit = lowest_free.fileno()
    lowest_free.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_descriptors_it_pauses_says_so_once_and_recovers(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "PAUSE", 0.01)
    acceptor = stage.acceptor()
    stage.connect(acceptor.endpoint)
    attempts = 0

    def count(error: OSError) -> None:
        nonlocal attempts
        attempts += 1
        pause(error)

    pause = acceptor._pause
    monkeypatch.setattr(acceptor, "_pause", count)
    with no_descriptors_left():
        acceptor.start()
        await until(lambda: attempts >= 3)
        assert [event for event, _ in stage.events] == ["accept_paused"]
        assert stage.engine.legs == {}
    await until(lambda: stage.engine.legs and len(stage.events) == 2)
    assert [event for event, _ in stage.events] == ["accept_paused", "accept_resumed"]
    assert stage.events[0][1] == {
        "endpoint": str(acceptor.endpoint),
        "error": "Too many open files",
        "open": 0,
    }


async def test_while_paused_the_loop_does_not_watch_the_socket(stage: Stage) -> None:
    acceptor = stage.acceptor()
    acceptor.start()
    acceptor._pause(OSError(errno.ENOBUFS, "No buffer space available"))
    assert not asyncio.get_running_loop().remove_reader(acceptor._socket)
    acceptor.close()
    assert acceptor._retry is None


class BrokenSocket:
    """Stands in for a listening socket whose next accepts fail."""

    def __init__(self, real: socket.socket, errors: list[int]) -> None:
        self._real = real
        self._errors = errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def accept(self) -> tuple[socket.socket, Any]:
        if self._errors:
            raise OSError(self._errors.pop(0), "as ordered")
        return self._real.accept()


@pytest.mark.parametrize("broken", [errno.ECONNABORTED, errno.EPROTO, errno.ENETUNREACH])
async def test_a_connection_that_broke_while_waiting_does_not_stop_the_next(
    stage: Stage, broken: int
) -> None:
    acceptor = stage.acceptor()
    stage.connect(acceptor.endpoint)
    acceptor._socket = cast("socket.socket", BrokenSocket(acceptor._socket, [broken]))
    acceptor._accept_batch()
    assert len(stage.engine.legs) == 1
    assert stage.caps.refused[StreamRefusal.FAILED] == 1
    assert stage.events == []


async def test_a_connection_that_breaks_before_it_is_handed_over_is_closed(stage: Stage) -> None:
    class Reset(socket.socket):
        def getsockname(self) -> Any:
            raise OSError(errno.ENOTCONN, "reset meanwhile")

    acceptor = stage.acceptor()
    connection = Reset()
    acceptor._let_in(connection, ("127.0.0.1", 1))
    assert connection.fileno() == -1
    assert stage.caps.refused[StreamRefusal.FAILED] == 1
    assert stage.caps.open == 0


async def test_a_thousand_connections_in_a_row_leave_nothing_behind(stage: Stage) -> None:
    acceptor = stage.acceptor()
    acceptor.start()
    for round_ in range(10):
        for _ in range(100):
            stage.connect(acceptor.endpoint)
        await until(lambda want=100: len(stage.engine.legs) == want)
        for leg, stream in stage.engine.legs.items():
            stream.close()
            acceptor.leg_closed(leg)
        stage.engine.legs.clear()
        for client in stage.clients:
            with suppress(OSError):
                client.close()
        stage.clients.clear()
        assert stage.caps.open == 0, round_
    assert acceptor._legs == {}
    assert acceptor.opened == {Transport.TCP: 1000}
