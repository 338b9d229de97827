"""Other servers: found, asked whether they live, and told to clients."""

from __future__ import annotations

import errno
import os
import ssl
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.scripted import FAST, Exchange, Scripted, mapped, scripted
from tests.client.scripted_dtls import scripted_dtls
from tests.e2e.certificates import CertificatePair
from tests.listeners.pems import make_pair
from tests.runtime.servers import BOB, Running, running
from tests.waiting import LIMIT, eventually
from turnd.client.errors import StunError
from turnd.client.uri import Transport
from turnd.runtime import alternates
from turnd.runtime.names import Names, UnknownNameError
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def stack(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncExitStack]:
    monkeypatch.setattr(alternates, "TIMING", FAST)
    monkeypatch.setattr(alternates, "CONNECT_LIMIT", LIMIT)
    async with AsyncExitStack() as stack:
        yield stack


async def alive(
    stack: AsyncExitStack, transport: Transport = Transport.UDP, tls: ssl.SSLContext | None = None
) -> Scripted:
    return await stack.enter_async_context(scripted(mapped, transport, tls))


def at(*servers: Scripted) -> list[str]:
    return [f"{each.server.host}:{each.server.port}" for each in servers]


async def started(
    stack: AsyncExitStack, folder: Path, to: list[str], when: Any = None, **changes: Any
) -> Running:
    """A server that looks when a test says so, and has looked once."""
    redirect = {"to": to, "when": when or {"allocations": 1}, "check_every": 3600}
    users = {"auth": {"users": dict([("alice", "alice's password"), BOB])}}
    values = {**users, "redirect": redirect, **changes}
    run = await stack.enter_async_context(running(folder, **values))
    await eventually(lambda: not run.server.alternates.due(time.monotonic()))
    await run.server.alternates.look()
    return run


async def sent_to(run: Running) -> list[TransportAddress]:
    """Where one client too many is sent; nowhere: it is served."""
    client = await run.client()
    try:
        await client.allocate()
    except StunError as error:
        response = error.response
    else:
        return []
    assert response is not None
    return response.get_all(a.ALTERNATE_SERVER)


async def test_clients_are_sent_to_those_that_live_in_turn(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alternates, "CONNECT_LIMIT", 1.0)  # who is silent is so by DTLS, too
    one, other = await alive(stack), await alive(stack)
    dead = await stack.enter_async_context(scripted(lambda _: None))
    run = await started(stack, tmp_path, at(one, dead, other))
    assert await sent_to(run) == []
    told = [str((await sent_to(run))[0]) for _ in range(4)]
    assert sorted(told) == sorted(at(one, other) * 2)
    (line,) = await eventually(lambda: run.logged("alternate_down"))
    assert line["server"] == at(dead)[0]
    assert "no answer" in line["reason"]
    text = (await run.get("/metrics"))[1]
    for server, lives in ((one, 1.0), (dead, 0.0), (other, 1.0)):
        assert f'turnd_alternate_up{{server="{at(server)[0]}"}} {lives}' in text
    assert 'turnd_allocations_total{result="try_alternate"} 4.0' in text


async def test_one_that_dies_and_comes_back_is_told_of_once_each_time(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alternates, "CONNECT_LIMIT", 1.0)  # who is silent is so by DTLS, too
    answers = {"on": True}

    def script(exchange: Exchange) -> None:
        if answers["on"]:
            mapped(exchange)

    server = await stack.enter_async_context(scripted(script))
    run = await started(stack, tmp_path, at(server))
    assert await sent_to(run) == []
    for on in (False, True):
        answers["on"] = on
        for _ in range(2):
            await run.server.alternates.look()
        assert bool(await sent_to(run)) is on
    await eventually(lambda: len(run.logged("alternate_up")) == 2)
    assert len(run.logged("alternate_down")) == 1


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
async def test_a_server_without_udp_lives_too(
    stack: AsyncExitStack, tmp_path: Path, transport: Transport
) -> None:
    tls = None
    if transport is Transport.TLS:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*make_pair(tmp_path, "b.example"))
    server = await alive(stack, transport, tls)
    run = await started(stack, tmp_path, at(server))
    await sent_to(run)
    assert len(await sent_to(run)) == 1


async def test_a_server_with_dtls_alone_lives_too(stack: AsyncExitStack, tmp_path: Path) -> None:
    pair = CertificatePair(*map(Path, make_pair(tmp_path, "b.example")))
    server = await stack.enter_async_context(scripted_dtls(mapped, pair))
    run = await started(stack, tmp_path, at(server))
    await sent_to(run)
    assert len(await sent_to(run)) == 1


@pytest.mark.parametrize(
    ("listen", "transport"),
    [
        (["tls", "tcp", "udp"], "udp"),
        (["tls", "tcp"], "tcp"),
        (["dtls", "tls"], "tls"),
        (["dtls"], "dtls"),
    ],
)
async def test_without_a_port_a_server_like_this_one_is_asked(
    stack: AsyncExitStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    listen: list[str],
    transport: str,
) -> None:
    asked: list[tuple[str, int]] = []

    async def nobody_answers(host: str, port: int) -> str:
        asked.append((host, port))
        return "silence"

    monkeypatch.setattr(alternates, "_problem_of", nobody_answers)
    certificate, key = make_pair(tmp_path, "b.example")
    run = await started(
        stack,
        tmp_path,
        ["198.51.100.7"],
        listen=[f"{each}://127.0.0.1:0" for each in listen],
        tls={"certificate": str(certificate), "key": str(key)},
    )
    assert {*asked} == {("198.51.100.7", run.port(transport))}


async def test_unasked_they_are_taken_to_live(stack: AsyncExitStack, tmp_path: Path) -> None:
    redirect = {"to": ["198.51.100.7"], "when": {"allocations": 1}, "check_every": 0}
    run = await started(stack, tmp_path, [], redirect=redirect)
    await sent_to(run)
    assert await sent_to(run) == [TransportAddress("198.51.100.7", run.port())]
    assert (await run.get("/metrics"))[1].count("turnd_alternate_up{") == 1


async def test_names_and_nobody_is_sent_back_to_us(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_up(_: Names, name: str) -> tuple[str, ...]:
        if name == "all.example":
            return ("127.0.0.1", "198.51.100.7", "2001:db8::7")
        if name == "gone.example":
            raise UnknownNameError(f"{name}: not known")
        return (name,)

    monkeypatch.setattr(Names, "look_up", look_up)
    redirect = {
        "to": ["all.example", "gone.example", "127.0.0.1"],
        "when": {"allocations": 1},
        "check_every": 0,
    }
    run = await started(stack, tmp_path, [], redirect=redirect)
    await sent_to(run)
    for _ in range(2):
        assert await sent_to(run) == [
            TransportAddress("198.51.100.7", run.port()),
            TransportAddress("2001:db8::7", run.port()),
        ]
    (line,) = await eventually(lambda: run.logged("alternate_down"))
    assert (line["server"], line["reason"]) == ("gone.example", "gone.example: not known")
    assert [each.domain for each in run.server.turn.state.redirection.alternates] == [
        "all.example"
    ] * 2


async def test_a_name_server_that_is_away_takes_nobody_away_who_answers(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"b.example": True}

    async def look_up(_: Names, name: str) -> tuple[str, ...]:
        if not known[name]:
            raise UnknownNameError(f"{name}: no answer")
        return ("127.0.0.1",)

    monkeypatch.setattr(Names, "look_up", look_up)
    server = await alive(stack)
    run = await started(stack, tmp_path, [f"b.example:{server.server.port}"])
    await sent_to(run)
    known["b.example"] = False
    for _ in range(2):
        await run.server.alternates.look()
        assert [str(each) for each in await sent_to(run)] == at(server)
    assert run.server.alternates.living == {"b.example": False, at(server)[0]: True}
    down = await eventually(lambda: run.logged("alternate_down"))
    assert [each["server"] for each in down] == ["b.example"]
    monkeypatch.setattr(alternates, "CONNECT_LIMIT", 1.0)  # who is silent is so by DTLS, too
    server.script = lambda _: None
    await run.server.alternates.look()
    assert await sent_to(run) == []
    known["b.example"], server.script = True, mapped
    await run.server.alternates.look()
    assert run.server.alternates.living == {at(server)[0]: True}


async def test_unasked_a_name_leads_to_where_it_led_last(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver says that it knows no name also where descriptors have run out here."""
    answers = [("198.51.100.7",)]

    async def look_up(_: Names, name: str) -> tuple[str, ...]:
        if not answers:
            raise UnknownNameError(f"{name}: no answer")
        return answers.pop()

    monkeypatch.setattr(Names, "look_up", look_up)
    redirect = {"to": ["b.example"], "when": {"allocations": 1}, "check_every": 0}
    run = await started(stack, tmp_path, [], redirect=redirect)
    await sent_to(run)
    assert not answers
    await run.server.alternates.look()
    assert await sent_to(run) == [TransportAddress("198.51.100.7", run.port())]


async def test_a_reload(stack: AsyncExitStack, tmp_path: Path) -> None:
    one, other = await alive(stack), await alive(stack)
    run = await started(stack, tmp_path, at(one))
    assert await sent_to(run) == []
    assert len(await sent_to(run)) == 1
    result = await run.reload(redirect={"to": at(other), "when": {"allocations": 2}})
    assert result["live"] == ["redirect.to", "redirect.when.allocations", "redirect.check_every"]
    assert run.server.turn.state.redirection.alternates == (), "nobody has seen it live yet"
    assert await sent_to(run) == []
    await eventually(lambda: run.server.turn.state.redirection.alternates)
    assert [str(each) for each in await sent_to(run)] == at(other)
    await run.reload(redirect=None)
    assert await sent_to(run) == []


async def test_what_a_look_has_found_for_another_configuration_is_nothing(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    one = await alive(stack)
    run: Running | None = None

    def script(exchange: Exchange) -> None:
        assert run is not None
        run.server.config = run.server.config.model_copy(
            update={"redirect": run.server.config.redirect.model_copy()}
        )
        mapped(exchange)

    run = await started(stack, tmp_path, at(one))
    one.script = script
    before = run.server.turn.state.redirection.alternates
    run.server.turn.state.redirection.alternates = ()
    await run.server.alternates.look()
    assert run.server.turn.state.redirection.alternates == ()
    assert len(before) == 1


async def test_bandwidth(stack: AsyncExitStack, tmp_path: Path) -> None:
    run = await started(stack, tmp_path, at(await alive(stack)), {"bandwidth": "1k"})
    one, two = await run.client(), await run.client()
    here = (await one.allocate()).relayed[0]
    there = (await two.allocate()).relayed[0]
    await two.create_permission(here)
    await one.create_permission(there)
    run.server.ticker.stop()
    later = time.monotonic() + 100
    for second in (0, 10):
        run.server.alternates.measure(later + second)
    assert await sent_to(run) == []
    for _ in range(10):
        await one.send(there, bytes(1000))
        await two.receive()
    run.server.alternates.measure(later + 11)
    assert len(await sent_to(run)) == 1
    for second in (12, 30):
        run.server.alternates.measure(later + second)
    assert await sent_to(run) == []


def exhausted(*_: object) -> Any:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_who_lived_is_taken_to_live_while_nobody_can_be_asked(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where descriptors have run out clients are to be sent elsewhere."""
    run = await started(stack, tmp_path, at(await alive(stack)))
    assert await sent_to(run) == []
    with monkeypatch.context() as patched:
        patched.setattr("asyncio_dgram.connect", exhausted)
        await run.server.alternates.look()
    assert len(await sent_to(run)) == 1
    assert run.logged("alternate_down") == []


async def test_and_while_it_is_not_known_who_we_are(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redirect = {"to": ["198.51.100.7"], "when": {"allocations": 1}, "check_every": 0}
    run = await started(stack, tmp_path, [], redirect=redirect)
    assert await sent_to(run) == []
    monkeypatch.setattr(alternates, "host_addresses", exhausted)
    await run.server.alternates.look()
    assert len(await sent_to(run)) == 1


async def test_while_the_server_ends(stack: AsyncExitStack, tmp_path: Path) -> None:
    run = await started(stack, tmp_path, at(await alive(stack)), {"draining": True})
    client = await run.client()
    await client.allocate()
    run.server.ending.ask("SIGTERM")
    assert len(await sent_to(run)) == 1
    await client.refresh()
