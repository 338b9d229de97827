from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import LIMIT, eventually
from turnd.engine.proxy_v2 import write_header
from turnd.listeners import passthrough
from turnd.listeners.caps import StreamCaps, StreamRefusal
from turnd.listeners.gate import NO_LINGER, Arrival
from turnd.listeners.passthrough import CHUNK, Backend, Passed, Passthrough
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CLIENT = ClientAddress(TransportAddress("203.0.113.9", 51_334))
HERE = ServerAddress(TransportAddress("192.0.2.7", 443))
NOWHERE = TransportAddress("127.0.0.1", 9)


@dataclass
class Site:
    """A passthrough with a backend behind it."""

    caps: StreamCaps = field(default_factory=StreamCaps)
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    address: TransportAddress = NOWHERE
    passthrough: Passthrough = field(init=False)

    def __post_init__(self) -> None:
        self.passthrough = Passthrough(self.caps, self.report)
        self.writers: list[asyncio.StreamWriter] = []

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))

    async def client(
        self, received: bytes = b"", *, proxy_protocol: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client whose connection was let in, and is carried from now on."""
        with socket.create_server(("127.0.0.1", 0)) as door:
            outside = socket.create_connection(door.getsockname())
            connection, _ = door.accept()
        self.carry(connection, received, proxy_protocol=proxy_protocol)
        reader, writer = await asyncio.open_connection(sock=outside)
        self.writers.append(writer)
        return reader, writer

    def carry(
        self, connection: socket.socket, received: bytes = b"", *, proxy_protocol: bool = False
    ) -> None:
        """The same for a connection whose other end is the test's."""
        connection.setblocking(False)
        assert self.caps.admit(CLIENT.host) is None
        arrival = Arrival(connection, CLIENT, HERE, CLIENT.host, received)
        self.passthrough.carry(arrival, Backend(self.address, proxy_protocol))

    async def close(self) -> None:
        """End what is left."""
        self.passthrough.close()
        for writer in self.writers:
            writer.close()
        await eventually(lambda: not self.passthrough._tasks)

    async def is_empty(self) -> bool:
        """Nothing is left of what was carried."""
        await eventually(lambda: not self.passthrough._tasks)
        return self.caps.open == self.passthrough.passed.open == 0


@asynccontextmanager
async def site(answer: Answer) -> AsyncIterator[Site]:
    broken: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except BaseException as error:
            broken.append(error)
            raise
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made = Site(address=TransportAddress(*server.sockets[0].getsockname()))
    try:
        yield made
    finally:
        await made.close()
        server.close()
        await server.wait_closed()
    assert [
        error for error in broken if not isinstance(error, (OSError, asyncio.CancelledError))
    ] == []


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers all at once, when all was said."""
    writer.write((await reader.read()).upper())
    await writer.drain()


async def test_every_byte_goes_on_as_it_came_and_ends_do_too() -> None:
    async with site(shout) as behind:
        reader, writer = await behind.client(b"what was read ")
        writer.write(b"and what was not")
        writer.write_eof()
        assert await reader.read() == b"WHAT WAS READ AND WHAT WAS NOT"
        writer.close()
        assert await behind.is_empty()
        assert behind.passthrough.passed == Passed(0, 1, 30, 30)
        assert behind.events == []


@pytest.mark.parametrize("wanted", [False, True])
async def test_the_backend_is_told_the_client_where_it_wants_to(wanted: bool) -> None:
    async with site(shout) as behind:
        reader, writer = await behind.client(b"hello", proxy_protocol=wanted)
        writer.write_eof()
        header = write_header(CLIENT, HERE).upper() if wanted else b""
        assert await reader.read() == header + b"HELLO"
        writer.close()
        assert behind.passthrough.passed.to_backend == len(b"hello")


async def test_an_answer_may_go_on_long_after_the_question() -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await release.wait()
        writer.write(b"late")

    async with site(slow) as behind:
        reader, writer = await behind.client(b"question")
        writer.write_eof()
        await eventually(lambda: behind.passthrough.passed.to_backend == 8)
        release.set()
        assert await reader.read() == b"late"
        writer.close()


async def test_who_leaves_when_the_end_is_under_way_is_no_fault() -> None:
    """The system takes the last bytes and hears by them that nobody is there any more."""
    size, small, large = 12_000, 2_048, 1 << 20
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(size))

    async with site(answer) as behind:
        with socket.create_server(("127.0.0.1", 0)) as door, socket.socket() as outside:
            outside.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, small)
            outside.connect(door.getsockname())
            connection, _ = door.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, small)
            behind.carry(connection)
            await eventually(lambda: behind.passthrough.passed.to_client == size)
            for _ in range(20):  # turns of the loop, until it has seen the backend's end
                await asyncio.sleep(0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, large)
            outside.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    outside.recv(size)
        assert await behind.is_empty()
    assert faults == []


async def test_megabytes_both_ways_at_once() -> None:
    size = 8 << 20

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()

    async with site(echo) as behind:
        reader, writer = await behind.client()

        async def send() -> None:
            for _ in range(size // CHUNK):
                writer.write(bytes(CHUNK))
                await writer.drain()
            writer.write_eof()

        async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
            group.create_task(send())
            received = await reader.read()
        assert len(received) == size
        writer.close()
        assert await behind.is_empty()
        assert behind.passthrough.passed == Passed(0, 1, size, size)


async def test_who_does_not_read_is_not_read_for() -> None:
    """What waits is bounded by the sockets' buffers and a little of ours."""

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(bytes(CHUNK))
            await writer.drain()

    async with site(flood) as behind:
        reader, writer = await behind.client(b"go")
        seen = -1

        def stands_still() -> bool:
            nonlocal seen
            before, seen = seen, behind.passthrough.passed.to_client
            return 0 < seen == before

        await eventually(stands_still)
        assert seen < 64 << 20
        await reader.readexactly(seen + 1)
        writer.transport.abort()
        assert await behind.is_empty()


async def test_a_client_that_breaks_off_ends_the_backend_too() -> None:
    ended: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        ended.append(await reader.read())

    async with site(listen) as behind:
        _, writer = await behind.client()
        await eventually(lambda: behind.passthrough.passed.open == 1)
        writer.get_extra_info("socket").setsockopt(*NO_LINGER)
        writer.transport.abort()
        assert await behind.is_empty()


async def test_a_backend_that_breaks_off_resets_the_client() -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(*NO_LINGER)
        writer.transport.abort()

    async with site(break_off) as behind:
        reader, _ = await behind.client(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert await behind.is_empty()


async def test_a_client_may_not_stay_when_the_backend_has_said_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passthrough, "LINGER", 0.01)

    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"all")

    async with site(hello) as behind:
        reader, _ = await behind.client()
        assert await reader.read() == b"all"
        assert await behind.is_empty()


async def test_a_backend_that_is_away_is_said_once_until_it_is_back() -> None:
    async with site(shout) as behind:
        there = behind.address
        with socket.socket() as unbound:
            unbound.bind(("127.0.0.1", 0))
            behind.address = TransportAddress(*unbound.getsockname())
            for _ in range(2):
                reader, _ = await behind.client()
                with pytest.raises(ConnectionResetError):
                    await reader.read()
            assert await behind.is_empty()
        backend = str(behind.address)
        away = ("backend_away", {"backend": backend, "error": "Connect call failed"})
        assert [event for event, _ in behind.events] == ["backend_away"]
        assert behind.events[0][1]["backend"] == away[1]["backend"]
        assert behind.caps.refused[StreamRefusal.BACKEND] == 2
        behind.address = there
        reader, writer = await behind.client()
        writer.write_eof()
        await reader.read()
        writer.close()
        assert behind.events[1:] == [("backend_back", {"level": "info", "backend": str(there)})]


@pytest.fixture
def silent_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to it are never made."""
    connect = asyncio.open_connection

    async def hang(*address: object, **how: Any) -> Any:
        if address:
            await asyncio.Event().wait()
        return await connect(**how)

    monkeypatch.setattr(asyncio, "open_connection", hang)


@pytest.mark.usefixtures("silent_backend")
async def test_a_backend_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passthrough, "CONNECT_TIMEOUT", 0.01)
    behind = Site()
    reader, _ = await behind.client()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert await behind.is_empty()
    assert behind.events == [("backend_away", {"backend": "127.0.0.1:9", "error": "no answer"})]


async def test_closing_in_the_first_moment_leaves_the_backend_nobody() -> None:
    left = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            left.set()

    async with site(wait) as behind:
        client = asyncio.create_task(behind.client())
        while not behind.passthrough.passed.open:  # noqa: ASYNC110 - not a turn of the loop later
            await asyncio.sleep(0)
        behind.passthrough.close()
        await eventually(left.is_set)
        await client


@pytest.mark.usefixtures("silent_backend")
async def test_closing_ends_those_too_that_wait_for_the_backend() -> None:
    behind = Site()
    reader, _ = await behind.client(b"x")
    await asyncio.sleep(0)
    behind.passthrough.close()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert await behind.is_empty()
    assert behind.caps.refused[StreamRefusal.BACKEND] == 0, "it was not the backend"


async def test_closing_ends_all_at_once() -> None:
    async with site(shout) as behind:
        reader, _ = await behind.client(b"x")
        await eventually(lambda: behind.passthrough.passed.open == 1)
        behind.passthrough.close()
        assert await behind.is_empty()
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            return
