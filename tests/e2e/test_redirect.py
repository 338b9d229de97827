"""Two servers: the first has too much to do, and clients go to the second."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.calls import Call, allocated, client_of
from tests.e2e.checking import checked, steps
from tests.e2e.server import PASSWORD, USER, Server, serve, wait_until
from tests.waiting import eventually
from turnd.client.client import TurnClient
from turnd.client.connection import ConnectOptions
from turnd.client.errors import StunError
from turnd.client.session import ClientOptions
from turnd.client.tls import Trust
from turnd.client.uri import Server as Target
from turnd.client.uri import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.e2e.certificates import Authority

FIRST_PORTS, SECOND_PORTS = range(33_000, 34_000), range(34_000, 35_000)


def relay(ports: range) -> dict[str, Any]:
    """Ports that tell the two servers apart."""
    return {"addresses": ["127.0.0.1", "::1"], "ports": f"{ports.start}-{ports.stop - 1}"}


def place(folder: Path, name: str) -> Path:
    """Where one of several servers lives; everybody may go through, since root is given up."""
    folder.chmod(0o755)
    return folder / name


def redirect(*to: str, **when: Any) -> dict[str, Any]:
    return {"to": list(to), "when": when, "check_every": 0.2}


@contextmanager
def two_servers(folder: Path, authority: Authority, **when: Any) -> Iterator[tuple[Server, Server]]:
    """The first sends clients to the second, whose certificate has another name."""
    pairs = [authority.issue(name, 30, name) for name in ("one.example", "two.example")]
    with serve(
        place(folder, "second"), tls=pairs[1].section(), relay=relay(SECOND_PORTS)
    ) as second:
        where = [f"{host}:{second.port}" for host in ("127.0.0.1", "[::1]")]
        where += [f"two.example={host}:{second.tls_port}" for host in ("127.0.0.1", "[::1]")]
        with serve(
            place(folder, "first"),
            tls=pairs[0].section(),
            relay=relay(FIRST_PORTS),
            redirect=redirect(*where[:2], **when),
        ) as first:
            wait_until(lambda: len(first.logged("alternate_up")) == 2, "the second lives")
            yield first, second


def clients_sent_away(server: Server) -> set[str]:
    refused = server.logged("request_refused")
    return {str(line["client"]) for line in refused if line["code"] == 300}


def following(server: Server, transport: Transport = Transport.UDP) -> TurnClient:
    port = server.tls_port if transport.is_secured else server.port
    options = ClientOptions(follow_redirects=True)
    return TurnClient(Target("127.0.0.1", port, transport), USER, PASSWORD, options)


@asynccontextmanager
async def follows(server: Server, transport: Transport = Transport.UDP) -> AsyncIterator[Call]:
    async with following(server, transport) as client:
        answer = await client.allocate()
        yield Call(client, answer.relayed[0])


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
async def test_clients_go_where_there_is_less_to_do(
    folder: Path, authority: Authority, transport: Transport
) -> None:
    with two_servers(folder, authority, allocations=1) as (first, second):
        async with allocated(first) as here, follows(first, transport) as there:
            assert here.relayed.port in FIRST_PORTS
            assert there.relayed.port in SECOND_PORTS
            assert there.client.connection.remote.port == second.port
            await here.client.refresh()
            async with follows(first, transport) as too:
                assert too.relayed.port in SECOND_PORTS
                await there.sends_to(too)
                await too.sends_to(there)
        # By client, since a request that is sent again is answered, and counted, again.
        await eventually(lambda: len(clients_sent_away(first)) == 2)
        assert first.metric('turnd_allocations_total{result="try_alternate"}') >= 2
        assert second.metric('turnd_allocations_total{result="created"}') == 2
        async with follows(first, transport) as again:
            assert again.relayed.port in FIRST_PORTS


async def test_a_server_that_is_away_is_no_place_to_send_clients(
    folder: Path, authority: Authority
) -> None:
    with two_servers(folder, authority, allocations=1) as (first, second):
        second.end()
        wait_until(lambda: len(first.logged("alternate_down")) == 2, "it is away")
        async with allocated(first), allocated(first) as served:
            assert served.relayed.port in FIRST_PORTS


async def test_by_tls_the_certificate_is_that_of_the_second(
    folder: Path, authority: Authority
) -> None:
    pairs = {name: authority.issue(name, 30, name) for name in ("one.example", "two.example")}
    with (
        serve(place(folder, "second"), tls=pairs["two.example"].section()) as second,
        serve(
            place(folder, "first"),
            tls=pairs["one.example"].section(),
            redirect=redirect(f"two.example=127.0.0.1:{second.tls_port}", allocations=1),
        ) as first,
    ):
        wait_until(lambda: bool(first.logged("alternate_up")), "the second lives")
        connect = ConnectOptions(trust=Trust(str(authority.file)), server_name="one.example")
        options = ClientOptions(connect=connect, follow_redirects=True)
        target = Target("127.0.0.1", first.tls_port, Transport.TLS)
        async with allocated(first), TurnClient(target, USER, PASSWORD, options) as client:
            await client.allocate()
            assert client.connection.remote.port == second.tls_port
            assert client.connection.tls is not None


async def test_two_full_servers_do_not_play_ball(folder: Path) -> None:
    """Not even with a client that remembers nothing, and comes by the same five-tuple."""
    limits = {"allocations": 1}
    with (
        serve(place(folder, "second"), limits=limits) as second,
        serve(
            place(folder, "first"), limits=limits, redirect=redirect(f"127.0.0.1:{second.port}")
        ) as first,
    ):
        second.rewrite(redirect=redirect(f"127.0.0.1:{first.port}"))
        second.reload()
        wait_until(lambda: bool(first.logged("alternate_up")), "the second lives")
        wait_until(lambda: bool(second.logged("alternate_up")), "the first lives")
        async with allocated(first), allocated(second):
            async with client_of(first) as at_first, client_of(second) as at_second:
                codes = []
                for client in (at_first, at_second, at_first, at_second):
                    with pytest.raises(StunError) as refused:
                        await client.allocate()
                    codes.append(refused.value.code)
                assert codes == [300, 300, 486, 486]
            async with following(first) as client:
                with pytest.raises(StunError, match="300"):
                    await client.allocate()


async def test_who_comes_while_a_server_ends_goes_elsewhere(
    folder: Path, authority: Authority
) -> None:
    with (
        serve(place(folder, "second"), relay=relay(SECOND_PORTS)) as second,
        serve(
            place(folder, "first"),
            redirect=redirect(f"127.0.0.1:{second.port}"),
            shutdown={"timeout": 60},
        ) as first,
    ):
        wait_until(lambda: bool(first.logged("alternate_up")), "the second lives")
        async with allocated(first) as here:
            first.process.terminate()
            wait_until(lambda: bool(first.logged("draining")), "it is about to end")
            async with follows(first) as there:
                assert there.relayed.port in SECOND_PORTS
            await here.client.refresh()


@pytest.mark.parametrize("transport", list(Transport))
async def test_our_own_check_goes_along(
    folder: Path, authority: Authority, transport: Transport
) -> None:
    """And `two.example` is what it looks for in the second certificate, where there is one."""
    pairs = {name: authority.issue(name, 30, name) for name in ("one.example", "two.example")}
    with serve(
        place(folder, "second"), tls=pairs["two.example"].section(), relay=relay(SECOND_PORTS)
    ) as second:
        port = second.tls_port if transport.is_secured else second.port
        with serve(
            place(folder, "first"),
            tls=pairs["one.example"].section(),
            relay=relay(FIRST_PORTS),
            redirect=redirect(f"two.example=127.0.0.1:{port}", allocations=1),
        ) as first:
            wait_until(lambda: bool(first.logged("alternate_up")), "the second lives")
            own = first.tls_port if transport.is_secured else first.port
            target = str(Target("127.0.0.1", own, transport))
            name = ("--server-name", "one.example")
            async with allocated(first):
                status, (here, there) = await checked(first, target, authority, *name)
    assert status == 0, (here, there)
    sent = steps(here)["redirect"]
    assert sent["alternate"] == f"127.0.0.1:{port}"
    assert sent["domain"] == ("two.example" if transport.is_secured else None)
    assert there["server"] == str(Target("127.0.0.1", port, transport))
    found = steps(there)
    assert int(found["allocate"]["relayed"].rpartition(":")[2]) in SECOND_PORTS
    assert found["echo"]["loss"] == 0
    if transport.is_secured:
        assert "two.example" in found["certificate"]["names"]


async def test_our_own_check_of_a_server_with_room_for_one(
    folder: Path, authority: Authority
) -> None:
    """Its second allocation is sent elsewhere; then the peer is the one who checks."""
    with serve(place(folder, "second")) as second:
        to = redirect(f"127.0.0.1:{second.port}", allocations=1)
        with serve(place(folder, "first"), redirect=to) as first:
            wait_until(lambda: bool(first.logged("alternate_up")), "the second lives")
            status, (report,) = await checked(
                first, f"turn:127.0.0.1:{first.port}?transport=udp", authority
            )
    assert status == 0, report
    assert steps(report)["permission"]["peer_is"] == "reflexive"
