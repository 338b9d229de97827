from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from tests.listeners.hellos import alpn, extension, hello, message, records, server_name
from tests.waiting import LIMIT, eventually
from turnd.engine.base import Transport
from turnd.engine.proxy_v2 import LONGEST, SIGNATURE, write_header
from turnd.listeners import gate
from turnd.listeners.caps import StreamCaps, StreamRefusal
from turnd.listeners.client_hello import LARGEST
from turnd.listeners.gate import Arrival, FrontRules, Gate
from turnd.listeners.passthrough import Backend
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECT = ClientAddress(TransportAddress("198.51.100.1", 50_000))
PROXY = ClientAddress(TransportAddress("10.0.0.1", 50_000))
HERE = ServerAddress(TransportAddress("192.0.2.1", 443))
CLIENT, ASKED = TransportAddress("203.0.113.9", 51_334), TransportAddress("192.0.2.7", 443)
LINE = b"PROXY TCP4 203.0.113.9 192.0.2.7 51334 443\r\n"
BACKEND = Backend(TransportAddress("127.0.0.1", 8443))
ALLOCATE = bytes.fromhex("0003 0000 2112a442") + bytes(12)
TCP, TLS, BOTH = (Transport.TCP,), (Transport.TLS,), (Transport.TCP, Transport.TLS)
TRUSTING = FrontRules(proxies=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")))
SHARING = FrontRules(backend=BACKEND, is_ours=lambda name: name == "turn.example")


class Hall:
    """A gate, its exits, and clients at socket pairs before it."""

    def __init__(self) -> None:
        self.caps = StreamCaps()
        self.served: list[tuple[Transport, Arrival]] = []
        self.passed: list[tuple[Backend, Arrival]] = []
        self.gates: list[Gate] = []
        self.clients: list[socket.socket] = []
        self.reports: list[tuple[str, dict[str, object]]] = []

    def report(self, event: str, /, **fields: object) -> None:
        self.reports.append((event, fields))

    def serve(self, arrival: Arrival, transport: Transport) -> None:
        self.served.append((transport, arrival))

    def pass_on(self, arrival: Arrival, backend: Backend) -> None:
        self.passed.append((backend, arrival))

    def gate(self, accepts: tuple[Transport, ...], rules: FrontRules) -> Gate:
        made = Gate(accepts, self.caps, self, self.report)
        made.rules = rules
        self.gates.append(made)
        return made

    def come(self, to: Gate, address: ClientAddress = DIRECT, says: bytes = b"") -> socket.socket:
        """By TCP: SO_RCVLOWAT means nothing to UNIX sockets."""
        with socket.create_server(("127.0.0.1", 0)) as door:
            client = socket.create_connection(door.getsockname())
            connection, _ = door.accept()
        connection.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clients.append(client)
        client.sendall(says)
        to.enter(connection, address, HERE)
        return client

    async def refused(self, reason: StreamRefusal) -> None:
        """It was, and nothing of it is left."""
        await eventually(lambda: self.caps.refused[reason] == 1)
        assert self.caps.open == 0
        assert sum(self.caps.refused.values()) == 1
        assert (self.served, self.passed) == ([], [])

    def close(self) -> None:
        for each in self.gates:
            each.close()
        for client in self.clients:
            client.close()
        for _, arrival in [*self.served, *self.passed]:
            arrival.connection.close()


@pytest.fixture
def hall() -> Iterator[Hall]:
    made = Hall()
    yield made
    made.close()


async def was_reset(client: socket.socket) -> bool:
    client.setblocking(False)
    async with asyncio.timeout(LIMIT):
        try:
            return await asyncio.get_running_loop().sock_recv(client, 1) == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize("accepts", [TCP, TLS])
async def test_what_needs_no_look_goes_through_at_once(
    hall: Hall, accepts: tuple[Transport, ...]
) -> None:
    hall.come(hall.gate(accepts, TRUSTING), says=LINE)
    ((transport, arrival),) = hall.served
    assert transport is accepts[0]
    assert (arrival.client, arrival.local, arrival.received) == (DIRECT, HERE, b"")
    assert arrival.connection.recv(100) == LINE  # a stranger's header is nothing but bytes
    assert hall.caps.of_client(DIRECT.host) == 1


async def test_tcp_has_no_backend(hall: Hall) -> None:
    hall.come(hall.gate(TCP, SHARING))
    assert len(hall.served) == 1


@pytest.mark.parametrize(("says", "transport"), [(ALLOCATE, "tcp"), (hello(), "tls")])
async def test_first_bytes_tell_tcp_from_tls(hall: Hall, says: bytes, transport: str) -> None:
    client = hall.come(hall.gate(BOTH, FrontRules()))
    assert hall.served == []
    client.sendall(says)
    ((found, arrival),) = await eventually(lambda: hall.served)
    assert found == transport
    assert arrival.received == says
    assert (arrival.client, arrival.local) == (DIRECT, HERE)
    assert arrival.connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


@pytest.mark.parametrize(
    ("says", "passed"),
    [
        (hello(server_name(b"turn.example")), False),
        (hello(server_name(b"www.example")), True),
        (hello(server_name(b"turn.example"), alpn(b"h2")), True),
        (b"GET / HTTP/1.1\r\n\r\n", True),
    ],
)
async def test_what_is_for_somebody_else(hall: Hall, says: bytes, passed: bool) -> None:
    for accepts in (TLS, BOTH):
        hall.come(hall.gate(accepts, SHARING), says=says)
    await eventually(lambda: len(hall.passed) + len(hall.served) == 2)
    assert len(hall.passed) == (2 if passed else 0)
    for backend, arrival in hall.passed:
        assert (backend, arrival.received) == (BACKEND, says)
    assert hall.caps.open == 2  # a place is held until the connection ends


async def test_without_a_backend_nobody_takes_it(hall: Hall) -> None:
    client = hall.come(hall.gate(BOTH, FrontRules()), says=b"GET / HTTP/1.1\r\n\r\n")
    await hall.refused(StreamRefusal.UNKNOWN_PROTOCOL)
    assert await was_reset(client)


@pytest.mark.parametrize("accepts", [TCP, TLS])
@pytest.mark.parametrize("header", [LINE, write_header(CLIENT, ASKED)])
async def test_a_proxy_says_who_the_client_is(
    hall: Hall, accepts: tuple[Transport, ...], header: bytes
) -> None:
    client = hall.come(hall.gate(accepts, TRUSTING), PROXY)
    assert (hall.caps.open, hall.caps.of_client(PROXY.host)) == (1, 0)
    client.sendall(header + b"what the client says")
    ((transport, arrival),) = await eventually(lambda: hall.served)
    assert transport is accepts[0]
    assert (arrival.client, arrival.local) == (CLIENT, ASKED)
    assert arrival.received == b"what the client says"
    assert hall.caps.of_client(CLIENT.host) == 1
    assert hall.caps.of_client(PROXY.host) == 0
    hall.caps.release(arrival.counted)
    assert hall.caps.of_client(CLIENT.host) == 0


async def test_the_header_and_the_first_bytes_may_come_apart(hall: Hall) -> None:
    rules = replace(TRUSTING, backend=BACKEND, is_ours=SHARING.is_ours)
    whole = LINE + records(message(extension(51, bytes(1_216)) + server_name(b"www.example")), 700)
    client = hall.come(hall.gate(BOTH, rules), PROXY)
    for at in range(0, len(whole), 100):
        client.sendall(whole[at : at + 100])
        await asyncio.sleep(0)
    ((_, arrival),) = await eventually(lambda: hall.passed)
    assert arrival.client == CLIENT
    while len(arrival.received) < len(whole) - len(LINE):
        arrival.received += arrival.connection.recv(100)
    assert arrival.received == whole[len(LINE) :]


async def test_a_health_check_is_the_proxys_own(hall: Hall) -> None:
    local = SIGNATURE + b"\x20\x00\x00\x00"
    hall.come(hall.gate(TCP, TRUSTING), PROXY, local)
    hall.come(hall.gate(TCP, TRUSTING), PROXY, b"PROXY UNKNOWN\r\n")
    await eventually(lambda: len(hall.served) == 2)
    assert {arrival.client for _, arrival in hall.served} == {PROXY}
    assert {arrival.local for _, arrival in hall.served} == {HERE}
    assert hall.caps.of_client(PROXY.host) == 2


@pytest.mark.parametrize("says", [ALLOCATE, hello(), b"PROXY TCP9\r\n", SIGNATURE + b"\x11\0\0\0"])
async def test_a_proxy_without_a_good_header_is_refused(hall: Hall, says: bytes) -> None:
    client = hall.come(hall.gate(BOTH, TRUSTING), PROXY, says)
    await hall.refused(StreamRefusal.PROXY_HEADER)
    assert await was_reset(client)
    ((event, fields),) = hall.reports
    assert event == "proxy_header_refused"
    assert fields["proxy"] == str(PROXY)


async def test_the_log_names_a_proxy_once_until_its_headers_are_good(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted network may have anybody in it; connecting is not to fill the log."""
    monkeypatch.setattr(gate, "MOST_NAMED", 2)
    entrance = hall.gate(TCP, TRUSTING)
    hosts = [ClientAddress(TransportAddress(f"10.0.0.{host}", 50_000)) for host in (1, 2, 3)]
    refused = 0
    for host, says in [(0, b"x"), (0, b"x"), (1, b"x"), (0, LINE), (0, b"x"), (1, b"x"), (2, b"x")]:
        hall.come(entrance, hosts[host], says)
        refused += says == b"x"
        await eventually(lambda: hall.caps.refused[StreamRefusal.PROXY_HEADER] == refused)  # noqa: B023
        await eventually(lambda: not entrance._waiting)
    named = [fields["proxy"] for _, fields in hall.reports]
    assert named == [str(hosts[host]) for host in (0, 1, 0, 2)]
    assert entrance._named == {"10.0.0.3"}, "and no more than so many are remembered"


async def test_caps_are_the_clients_not_the_proxys(hall: Hall) -> None:
    hall.caps.per_client = 1
    entrance = hall.gate(TCP, TRUSTING)
    hall.come(entrance, PROXY, LINE)
    hall.come(entrance, PROXY, LINE.replace(b"203.0.113.9", b"203.0.113.8"))
    await eventually(lambda: len(hall.served) == 2)
    assert await was_reset(hall.come(entrance, PROXY, LINE))
    assert hall.caps.refused[StreamRefusal.PER_CLIENT] == 1
    assert (hall.caps.open, len(hall.served)) == (2, 2)


async def test_who_waits_takes_a_place(hall: Hall) -> None:
    hall.caps.total = 1
    entrance = hall.gate(BOTH, TRUSTING)
    hall.come(entrance)
    assert await was_reset(hall.come(entrance))
    assert hall.caps.refused[StreamRefusal.TOTAL] == 1


@pytest.mark.parametrize("address", [DIRECT, PROXY])
@pytest.mark.parametrize("says", [b"", b"\x16\x03", b"PROX"])
async def test_nobody_waits_for_ever(hall: Hall, address: ClientAddress, says: bytes) -> None:
    rules = replace(TRUSTING, patience=0.05, backend=BACKEND)
    if address is DIRECT and says == b"PROX":
        says = b"\x16"
    client = hall.come(hall.gate(BOTH, rules), address, says)
    await eventually(lambda: sum(hall.caps.refused.values()) == 1)
    wrong = address is PROXY and says.startswith(b"\x16")
    await hall.refused(StreamRefusal.PROXY_HEADER if wrong else StreamRefusal.SILENT)
    assert await was_reset(client)


@pytest.mark.parametrize("says", [b"", b"\x16\x03\x01"])
async def test_who_leaves_is_forgotten(hall: Hall, says: bytes) -> None:
    client = hall.come(hall.gate(BOTH, replace(SHARING, patience=LIMIT)), says=says)
    client.close()
    await hall.refused(StreamRefusal.LEFT)


async def test_who_breaks_off_is_forgotten(hall: Hall) -> None:
    client = hall.come(hall.gate(BOTH, replace(SHARING, patience=LIMIT)))
    await asyncio.sleep(0)
    gate.reset(client)
    await hall.refused(StreamRefusal.LEFT)


async def test_closing_lets_nobody_in_who_waits(hall: Hall) -> None:
    entrance = hall.gate(BOTH, FrontRules())
    client = hall.come(entrance)
    await asyncio.sleep(0)
    entrance.close()
    assert await was_reset(client)
    assert hall.caps.open == 0
    assert sum(hall.caps.refused.values()) == 0


async def test_a_trickle_costs_a_few_looks_not_one_for_each_byte(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    whole = hello(extension(51, bytes(500)), server_name(b"www.example"))
    reads: list[int] = []
    receive = loop.sock_recv

    async def count(sock: socket.socket, size: int) -> bytes:
        data = await receive(sock, size)
        reads.append(len(data))
        return data

    monkeypatch.setattr(loop, "sock_recv", count)
    client = hall.come(hall.gate(BOTH, SHARING), says=whole[:1])
    await eventually(lambda: reads)
    for at in range(1, len(whole)):
        client.sendall(whole[at : at + 1])
        await asyncio.sleep(0)
    await eventually(lambda: hall.passed)
    assert len(reads) <= 8  # three, and what comes between a look and saying how much is missing
    assert sum(reads) == len(whole)


async def test_rules_change_live(hall: Hall) -> None:
    entrance = hall.gate(BOTH, FrontRules())
    client = hall.come(entrance)
    entrance.rules = SHARING
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    await eventually(lambda: hall.passed)


async def test_more_than_a_hello_is_not_held(hall: Hall) -> None:
    whole = records(message(extension(21, bytes(LARGEST))))
    hall.come(hall.gate(BOTH, SHARING), says=whole)
    await hall.refused(StreamRefusal.UNKNOWN_PROTOCOL)


async def test_a_fault_of_ours_leaves_nothing_behind(hall: Hall) -> None:
    def broken(_: str) -> bool:
        raise LookupError("ours")

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about))
    rules = replace(SHARING, is_ours=broken)
    client = hall.come(hall.gate(BOTH, rules), says=hello(server_name(b"a")))
    assert await was_reset(client)
    assert hall.caps.open == 0
    await eventually(lambda: hall.gates[0]._waiting == set())


async def test_what_is_read_at_most(hall: Hall) -> None:
    client = hall.come(hall.gate(BOTH, SHARING), says=ALLOCATE + bytes(10 * LARGEST))
    ((_, arrival),) = await eventually(lambda: hall.served)
    assert len(arrival.received) <= LARGEST + LONGEST
    assert client.fileno() >= 0
