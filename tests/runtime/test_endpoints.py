"""Endpoints: bound, inherited, refused with a reason, closed."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.socket_worlds import tls_sides
from tests.ports import closed_port
from tests.waiting import eventually
from turnd.config import Endpoint
from turnd.engine.base import CloseReason, LegClosed, ListenerSettings
from turnd.engine.fake import FakeEngine
from turnd.engine.portable import PortableEngine
from turnd.listeners.caps import StreamCaps
from turnd.listeners.deadlines import AuthenticationDeadlines
from turnd.runtime.endpoints import BindError, Endpoints
from turnd.stun.addresses import TransportAddress
from turnd.system import InheritedSocket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turnd.config.values import EndpointTransport
    from turnd.engine.udp import UdpListener

PLAIN = ListenerSettings()


@pytest.fixture
def reports() -> list[tuple[str, dict[str, object]]]:
    return []


@pytest.fixture
def endpoints(reports: list[tuple[str, dict[str, object]]]) -> Iterator[Endpoints]:
    def report(event: str, /, **fields: object) -> None:
        reports.append((event, fields))

    engine = PortableEngine()
    made = Endpoints(
        engine,
        StreamCaps(),
        AuthenticationDeadlines(60),
        report,
    )
    yield made
    made.close()
    engine.stop()


def settings_of(endpoints: tuple[Endpoint, ...]) -> ListenerSettings:
    transports = {each.transport for each in endpoints}
    return replace(PLAIN, plain_udp="udp" in transports, dtls="dtls" in transports)


def bind(endpoints: Endpoints, *wanted: Endpoint, inherited: Any = ()) -> None:
    endpoints.bind(wanted, settings_of, inherited)


async def test_ports_are_resolved(endpoints: Endpoints) -> None:
    wanted: list[EndpointTransport] = ["udp", "tcp", "tls"]
    bind(endpoints, *(Endpoint(transport, "127.0.0.1", 0) for transport in wanted))
    bound = endpoints.bound()
    assert [endpoint.transport for endpoint, _ in bound] == wanted
    assert all(address.host == "127.0.0.1" and address.port for _, address in bound)


async def test_plain_udp_and_dtls_of_one_port_are_one_listener(endpoints: Endpoints) -> None:
    with closed_port(socket.SOCK_DGRAM) as port:
        pass
    tls = tls_sides()[0]
    wanted = [
        Endpoint("udp", "127.0.0.1", port),
        Endpoint("dtls", "127.0.0.2", port),
        Endpoint("dtls", "127.0.0.1", port),
    ]
    endpoints.bind(wanted, lambda each: replace(settings_of(each), tls=tls), [])
    assert list(endpoints.by_listener.values()) == [(wanted[0], wanted[2]), (wanted[1],)]
    assert [str(endpoint) for endpoint, _ in endpoints.bound()] == [
        f"udp://127.0.0.1:{port}", f"dtls://127.0.0.1:{port}", f"dtls://127.0.0.2:{port}",
    ]  # fmt: skip
    settings = [listener.settings for listener in listeners(endpoints)]
    assert [(each.plain_udp, each.dtls) for each in settings] == [(True, True), (False, True)]
    endpoints.configure(lambda each: replace(settings_of(each), tls=tls, idle_timeout=7))
    assert [listener.settings.idle_timeout for listener in listeners(endpoints)] == [7, 7]


def listeners(endpoints: Endpoints) -> list[UdpListener]:
    assert isinstance(endpoints.engine, PortableEngine)
    return list(endpoints.engine._legs.udp_listeners.values())


async def test_plain_tcp_and_tls_of_one_port_are_one_listener(endpoints: Endpoints) -> None:
    with closed_port(socket.SOCK_STREAM) as port:
        pass
    tcp, tls = (Endpoint(kind, "127.0.0.1", port) for kind in ("tcp", "tls"))
    other = Endpoint("tls", "127.0.0.2", port)
    settings = replace(PLAIN, tls=tls_sides()[0])
    endpoints.bind([tcp, other, tls], lambda _: settings, [])
    endpoints.start()
    assert list(endpoints.by_listener.values()) == [(tcp, tls), (other,)]
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"\0")
        await eventually(lambda: endpoints.opened() == {"tcp": 1})
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"\x16")
        await eventually(lambda: endpoints.opened() == {"tcp": 1, "tls": 1})
    endpoints.close()


async def test_dtls_sessions_are_connections(endpoints: Endpoints) -> None:
    engine = FakeEngine(lambda: 0.0)
    made = Endpoints(engine, StreamCaps(total=1), AuthenticationDeadlines(60), endpoints.report)
    made.bind([Endpoint("dtls", "127.0.0.1", 5349)], settings_of, [])
    (listener,) = made.by_listener
    legs = [
        engine.dtls_handshake(listener, TransportAddress("127.0.0.9", port)) for port in (1, 2, 3)
    ]
    for leg in legs[:2]:
        made.leg_opened(leg, 0.0)
    assert made.opened() == {"dtls": 1}
    assert len(made.deadlines) == 1
    made.leg_closed(LegClosed(legs[0], CloseReason.CLIENT))
    made.leg_opened(legs[2], 0.0)
    assert made.opened() == {"dtls": 2}
    made.close_overdue(60.0)
    assert not engine.is_open(legs[2])


async def test_the_same_port_twice_is_in_use(endpoints: Endpoints) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(BindError, match=rf"udp://127.0.0.1:{port}: Address already in use"):
            bind(endpoints, Endpoint("udp", "127.0.0.1", port))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BindError, match=rf"tcp://127.0.0.1:{port}: .*: another program"):
            bind(endpoints, Endpoint("tcp", "127.0.0.1", port))


async def test_an_address_of_another_host(endpoints: Endpoints) -> None:
    with pytest.raises(BindError, match="no interface of this host has that address"):
        bind(endpoints, Endpoint("udp", "198.51.100.1", 0))


async def test_a_port_that_only_root_may_bind(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(endpoints.engine, "listen", refuse)
    with pytest.raises(BindError, match="Permission denied: ports below 1024 need"):
        bind(endpoints, Endpoint("udp", "127.0.0.1", 443))


async def test_another_reason(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Strange")

    monkeypatch.setattr(endpoints.engine, "listen", refuse)
    with pytest.raises(BindError, match="Strange: is the address right"):
        bind(endpoints, Endpoint("udp", "127.0.0.1", 443))


async def test_a_reason_of_the_engine(endpoints: Endpoints) -> None:
    with pytest.raises(BindError, match=r"cannot listen on dtls://127.0.0.1:0: DTLS needs a cert"):
        bind(endpoints, Endpoint("dtls", "127.0.0.1", 0))


async def test_a_host_without_ipv6(
    endpoints: Endpoints,
    monkeypatch: pytest.MonkeyPatch,
    reports: list[tuple[str, dict[str, object]]],
) -> None:
    listen = endpoints.engine.listen

    def without(address: TransportAddress, *rest: Any) -> Any:
        if ":" in address.host:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported")
        return listen(address, *rest)

    monkeypatch.setattr(endpoints.engine, "listen", without)
    bind(endpoints, Endpoint("udp", "127.0.0.1", 0), Endpoint("udp", "::", 0))
    assert reports == [("ipv6_unavailable", {"endpoint": "udp://[::]:0"})]
    assert len(endpoints.bound()) == 1
    with pytest.raises(BindError):
        bind(endpoints, Endpoint("udp", "::1", 0))


async def test_nothing_to_listen_on(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported")

    monkeypatch.setattr(endpoints.engine, "listen", refuse)
    with pytest.raises(BindError, match="has no IPv6"):
        bind(endpoints, Endpoint("udp", "::", 0))


def inherited(kind: socket.SocketKind) -> InheritedSocket:
    with socket.socket(socket.AF_INET, kind) as bound:
        bound.bind(("127.0.0.1", 0))
        host, port = bound.getsockname()
        return InheritedSocket(bound.detach(), "x", kind, host, port)


async def test_inherited_sockets_are_used(
    endpoints: Endpoints, reports: list[tuple[str, dict[str, object]]]
) -> None:
    datagrams, stream = inherited(socket.SOCK_DGRAM), inherited(socket.SOCK_STREAM)
    wanted = [
        Endpoint("udp", "127.0.0.1", datagrams.port),
        Endpoint("tls", "127.0.0.1", stream.port),
    ]
    bind(endpoints, *wanted, inherited=[stream, datagrams])
    assert [address.port for _, address in endpoints.bound()] == [datagrams.port, stream.port]
    assert reports == []


async def test_an_inherited_udp_socket_is_of_one_family(endpoints: Endpoints) -> None:
    """Else IPv4 clients were told mapped addresses, and were one network in all budgets."""
    both = InheritedSocket(-1, "both", socket.SOCK_DGRAM, "::", 3478, takes_ipv4=True)
    with pytest.raises(BindError, match=r"'both' at .*BindIPv6Only=ipv6-only .*=0\.0\.0\.0:3478"):
        bind(endpoints, Endpoint("udp", "0.0.0.0", 0), inherited=[both])
    assert not endpoints.by_listener


async def test_an_inherited_socket_that_nobody_wants_is_named_and_closed(
    endpoints: Endpoints, reports: list[tuple[str, dict[str, object]]]
) -> None:
    stream = inherited(socket.SOCK_STREAM)
    bind(endpoints, Endpoint("udp", "127.0.0.1", 0), inherited=[stream])
    endpoint = f"127.0.0.1:{stream.port}"
    assert reports == [("inherited_socket_unused", {"name": "x", "endpoint": endpoint})]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(stream.fd)
