"""Reloads: all of it or nothing, and calls go on."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from tests.listeners.pems import make_pair
from tests.runtime.servers import ALICE, BOB, Running, heard, rest, running, write_config
from tests.tokens import KEY_TEXT
from tests.waiting import LIMIT, eventually
from turnd.auth.credentials import FoundKey, KeyQuery, Unknown
from turnd.client.client import TurnClient
from turnd.client.errors import ClientError, StunError
from turnd.client.uri import Transport
from turnd.config import Endpoint, compare
from turnd.engine.portable import PortableEngine
from turnd.runtime.ending import Signals
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from pathlib import Path

    from turnd.engine.base import BucketId

PEER = TransportAddress("127.0.0.1", 9)
UDP = (Endpoint("udp", "127.0.0.1", 0),)


async def is_let_in(run: Running, user: tuple[str, str], **where: Any) -> bool:
    return await allocates(await run.client(user, **where))


async def allocates(client: TurnClient) -> bool:
    """Whether it is not refused by 401."""
    try:
        await client.allocate()
    except ClientError as error:
        if "401" in str(error):
            return False
        raise
    await client.close()
    return True


def pair(pems: tuple[str, str]) -> dict[str, str]:
    return {"certificate": pems[0], "key": pems[1]}


async def serial(port: int) -> int:
    """Of the certificate that a new connection gets; by its expiry, which tests choose."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(der).serial_number


async def test_users_and_secrets_change_and_live_allocations_go_on(tmp_path: Path) -> None:
    auth = {"users": dict([ALICE]), "secrets": ["old"]}
    async with running(tmp_path, auth=auth) as run:
        named, by_secret = await run.client(), await run.client(rest("old"))
        await named.allocate()
        await by_secret.allocate()
        result = await run.reload(auth={"users": dict([BOB]), "secrets": ["new"]})
        assert result == {
            "ok": True,
            "live": ["auth.users", "auth.secrets"],
            "restart": [],
            "problems": [],
        }
        assert [await is_let_in(run, user) for user in (ALICE, rest("old"))] == [False, False]
        assert [await is_let_in(run, user) for user in (BOB, rest("new"))] == [True, True]
        for client in (named, by_secret):
            assert await client.refresh(600) == 600
            await client.create_permission(PEER)
        assert run.server.last_reload.successful


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"reelm": "x"}, r":11:1: reelm: "),
        ({"relay": {"ports": "9-1"}}, r":3:\d+: relay\.ports: "),
        ({"auth": {"redis": "redis://127.0.0.1:0x/"}}, r":4:\d+: auth\.redis: .*port"),
        ({"auth": {"redis": "redis://h/?nonsense=1"}}, r":4:\d+: auth\.redis: .*nonsense"),
        ({"auth": {"users": {"a": "md5:xyz"}}}, r":4:\d+: auth\.users"),
        (
            {"auth": {"users": {"a": "md5:" + "0" * 32, "b": "sha256:" + "0" * 64}}},
            r":4:\d+: auth\.users: no password algorithm",
        ),
        ({"auth": {"redis": "redis://h", "redis_tls_ca": "/none"}}, r":4:\d+: auth\.redis_tls_ca"),
        ({"tls": {"certificate": "/none.pem", "key": "/none.key"}}, r":11:\d+: tls\[0\]"),
        ({"peers": {"deny": ["10.0.0.1/8"]}}, r":5:\d+: peers\.deny\[0\]: "),
    ],
)
async def test_what_is_wrong_changes_nothing(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    async with running(tmp_path) as run:
        client = await run.client()
        await client.allocate()
        before = run.server.config
        good = {"shutdown": {"timeout": 1}, "log": {"format": "json", "level": "debug"}}
        result = await run.reload(**good, **changes)
        assert (result["ok"], result["live"], result["restart"]) == (False, [], [])
        found = [text for text in result["problems"] if re.search(problem, text)]
        assert found, result["problems"]
        assert found[0].startswith(str(tmp_path / "config.yaml"))
        assert run.server.config is before
        assert await is_let_in(run, ALICE)
        await client.refresh()
        await eventually(lambda: run.logged("reload_refused"))
        assert not run.server.last_reload.successful
        assert run.logged("reloaded") == []


async def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        result = await run.reload(
            auth={"redis": "redis://127.0.0.1:x"},
            tls=[pair(("/a.pem", "/a.key")), pair(("/b.pem", "/b.key"))],
        )
        assert len(result["problems"]) == 3


async def test_what_needs_a_restart_is_named_until_it_is_put_back(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        ports = run.values["relay"]
        for _ in range(2):
            result = await run.reload(relay={"addresses": ["127.0.0.1"], "ports": "2000-3000"})
            assert result["restart"] == ["relay.ports"]
            assert result["ok"]
        result = await run.reload(user="somebody", shutdown={"timeout": 7})
        assert (result["live"], result["restart"]) == (
            ["shutdown.timeout"],
            ["relay.ports", "user"],
        )
        result = await run.reload(relay=ports, user=None)
        assert (result["live"], result["restart"]) == ([], [])
        named = await eventually(lambda: run.logged("restart_needed"))
        assert named[0]["keys"] == ["relay.ports"]


async def test_another_realm_name_waits_for_a_restart_and_users_do_not(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        result = await run.reload(realm="other.example", auth={"users": dict([BOB])})
        assert (result["live"], result["restart"]) == (["auth.users"], ["realm"])
        assert await is_let_in(run, BOB)
        assert not await is_let_in(run, ALICE)


async def test_quotas_and_limits(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        first, second = await run.client(), await run.client()
        await first.allocate()
        for limits in (
            {"allocations": 1},
            {"allocations_per_user": 1},
            {"allocations_per_client": 1},
        ):
            assert (await run.reload(limits=limits))["ok"]
            with pytest.raises(StunError, match="486"):
                await second.allocate()
        limits = {"connections_per_client": 3, "connections": 4, "unauthenticated_per_second": 5}
        await run.reload(limits=limits)
        await second.allocate()
        server = run.server
        assert (server.endpoints.caps.per_client, server.endpoints.caps.total) == (3, 4)
        assert [server.engine.draw("192.0.2.1") for _ in range(6)] == [True] * 5 + [False]


async def test_bandwidth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int | None] = []
    limit = PortableEngine.limit

    def spy(engine: PortableEngine, bucket: BucketId, rate: int | None) -> None:
        told.append(rate)
        limit(engine, bucket, rate)

    monkeypatch.setattr(PortableEngine, "limit", spy)
    async with running(tmp_path, limits={"bandwidth_total": "3M"}) as run:
        assert told == [3_000_000]
        await (await run.client()).allocate()
        told.clear()
        limits = {"bandwidth_per_allocation": "1M", "bandwidth_per_user": "2Mbit"}
        result = await run.reload(limits=limits)
        assert result["live"] == [
            "limits.bandwidth_per_allocation",
            "limits.bandwidth_per_user",
            "limits.bandwidth_total",
        ]
        assert told == [0, 2_000_000, 1_000_000]


async def test_numbers_of_allocations_streams_and_nonces(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.client()
        await client.allocate()
        result = await run.reload(
            relay=run.values["relay"] | {"lifetime": 700, "max_permissions": 1},
            streams={"authentication_timeout": 5, "frame_timeout": 3, "handshake_timeout": 2},
            auth=run.values["auth"] | {"nonce_lifetime": 60, "strict_expiry": True},
            metrics={"users": True},
        )
        assert result["restart"] == []
        assert await client.refresh() == 700
        await client.create_permission("127.0.0.1")
        with pytest.raises(StunError, match="508"):
            await client.create_permission("127.0.0.2")
        assert run.server.turn.nonces.lifetime == 60
        assert run.server.turn.state.realms["test.example"].strict_expiry
        assert run.server.endpoints.deadlines.patience == 5
        assert run.server.listener_settings()(UDP).frame_timeout == 3
        assert "turnd_user_allocations" in (await run.get("/metrics"))[1]


async def test_an_unchanged_nonce_lifetime_keeps_nonces_good(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        nonces = run.server.turn.nonces
        await run.reload(limits={"allocations": 5})
        assert run.server.turn.nonces is nonces


async def test_keys_of_tokens_come_and_go(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        turn = run.server.turn
        listener = next(iter(run.server.endpoints.udp))
        auth, names = run.values["auth"], []
        for oauth in ({"keys": {"north": {"key": KEY_TEXT}}}, {}):
            assert (await run.reload(auth=auth | {"oauth": oauth}))["restart"] == []
            names.append(turn.challenge_by(listener).third_party_authorization.decode())
            found = turn.realms.own.credentials.lookup(KeyQuery("north"), 0.0)
            assert isinstance(found, FoundKey if oauth else Unknown)
        assert names == [run.server.config.realm, ""]


async def test_mobility_is_switched_on_and_off(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        early = await run.client()
        with pytest.raises(StunError, match="405"):
            await early.allocate(mobility=True)
        assert (await run.reload(mobility=True))["live"] == ["mobility"]
        client = await run.client(transport=Transport.TCP)
        await client.allocate(mobility=True)
        await client.connection.close()
        await eventually(lambda: run.server.endpoints.closed == {"client": 1})
        await client.move()
        counts = run.server.pump.events.counts
        assert counts.allocations_moved == len(run.server.table) == 1
        assert (await run.reload(mobility=False))["live"] == ["mobility"]
        with pytest.raises(StunError, match="405"):
            await client.move()
        await client.connection.close()
        await eventually(lambda: not len(run.server.table))
        assert counts.allocations_ended == {"disconnected": 1}


async def test_permissions_that_a_new_policy_refuses_are_taken_back(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        one, other = await run.client(), await run.client()
        here, there = (await one.allocate()).relayed[0], (await other.allocate()).relayed[0]
        await one.create_permission(there)
        await one.channel_bind(there)
        await other.channel_bind(here)
        await one.send(there, b"before")
        assert await heard(other) == (here, b"before")
        assert (await run.reload(peers={"allow": []}))["live"] == ["peers.allow"]
        relays = [relay for each in run.server.table for relay in each.relays]
        assert [(dict(r.permissions), dict(r.channels)) for r in relays] == [({}, {})] * 2
        drops = run.server.engine.counters().drops
        await one.send(there, b"after")
        await eventually(lambda: run.server.engine.counters().drops != drops)
        with pytest.raises(StunError, match="403"):
            await one.create_permission(there)
        assert await one.refresh(600) == 600


async def test_the_log(tmp_path: Path) -> None:
    async with running(tmp_path, log={"format": "json"}) as run:
        await run.reload(log={"format": "console", "level": "error", "addresses": False})
        assert (await run.reload(log={"format": "json", "level": "info"}))["ok"]
        assert (await run.reload())["ok"]
        await eventually(lambda: run.logged("reloaded"))
        assert len(run.logged("reloaded")) < 3


async def test_realms_change_one_by_one_and_their_endpoints_at_a_restart(tmp_path: Path) -> None:
    def realms(user: tuple[str, str], *more: str) -> dict[str, Any]:
        return {
            "b.example": {"listen": ["udp://127.0.0.2:0", *more], "auth": {"users": dict([user])}}
        }

    async with running(tmp_path, realms=realms(BOB)) as run:
        bs = next(a for e, a in run.server.endpoints.bound() if e.host == "127.0.0.2")
        chain = run.server.sources["test.example"].chain
        assert await is_let_in_at(run, bs, BOB)
        assert not await is_let_in_at(run, bs, ALICE)
        result = await run.reload(realms=realms(("dora", "d"), "udp://127.0.0.3:0"))
        assert result["live"] == ['realms["b.example"].auth.users']
        assert result["restart"] == ['realms["b.example"].listen']
        assert await is_let_in_at(run, bs, ("dora", "d"))
        assert not await is_let_in_at(run, bs, BOB)
        assert run.server.sources["test.example"].chain is chain
        strict = realms(("dora", "d"))
        strict["b.example"]["auth"]["strict_expiry"] = True
        await run.reload(realms=strict)
        of_realms = run.server.turn.state.realms
        assert [of_realms[name].strict_expiry for name in ("test.example", "b.example")] == [
            False,
            True,
        ]
        result = await run.reload(realms=None)
        assert result["restart"] == ['realms["b.example"]']
        assert await is_let_in_at(run, bs, ("dora", "d"))


async def test_a_name_of_a_realm_that_is_to_go_may_be_anothers_at_once(tmp_path: Path) -> None:
    def realm(*origins: str) -> dict[str, Any]:
        return {"origins": [f"https://{each}" for each in origins], "auth": {"users": dict([BOB])}}

    async with running(tmp_path, realms={"a": realm("a"), "b": realm("b", "c")}) as run:
        result = await run.reload(realms={"a": realm("a", "b")})
        assert (result["live"], result["restart"]) == (["realms.a.origins"], ["realms.b"])
        by_origin = run.server.turn.realms.by_origin
        assert {origin: each.name for origin, each in by_origin.items()} == {
            "https://a": "a",
            "https://b": "a",
            "https://c": "b",
        }


async def is_let_in_at(run: Running, where: TransportAddress, user: tuple[str, str]) -> bool:
    client = await run.clients.enter_async_context(TurnClient(f"turn:{where}", *user))
    return await allocates(client)


async def test_certificates(tmp_path: Path) -> None:
    first, second = make_pair(tmp_path, stem="a"), make_pair(tmp_path, stem="b")
    listen = ["tls://127.0.0.1:0"]
    async with running(tmp_path, listen=listen, tls=pair(first)) as run:
        port = run.port("tls")
        before = await serial(port)
        assert (await run.reload(tls=pair(second)))["live"] == ["tls"]
        after = await serial(port)
        assert after != before
        make_pair(tmp_path, stem="b")
        assert (await run.reload())["ok"]
        renewed = await serial(port)
        assert renewed not in {before, after}
        assert list(run.server.certificates.expiry()) == [second[0]]  # type: ignore[union-attr]


async def test_a_bad_certificate_refuses_the_whole_reload(tmp_path: Path) -> None:
    pems = make_pair(tmp_path, stem="a")
    async with running(tmp_path, listen=["tls://127.0.0.1:0"], tls=pair(pems)) as run:
        before = await serial(run.port("tls"))
        key = (tmp_path / "a.key").read_bytes()
        make_pair(tmp_path, stem="a")
        (tmp_path / "a.key").write_bytes(key)
        for _ in range(2):
            result = await run.reload(auth={"users": dict([BOB])})
            assert not result["ok"]
            assert re.search(
                r":11:\d+: tls\[0\]\.certificate: .*another certificate", result["problems"][0]
            )
            assert await serial(run.port("tls")) == before
        assert list(run.server.config.auth.users) == ["alice"]
        refused = await eventually(lambda: run.logged("certificate_refused"))
        assert refused[0]["path"] == pems[0]
        run.server.reloader.renew_certificates()
        await eventually(lambda: len(run.logged("certificate_refused")) == 3)
        assert await serial(run.port("tls")) == before


async def test_a_certificate_that_ended_while_it_was_served_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pems = make_pair(tmp_path, stem="a")
    async with running(tmp_path, listen=["tls://127.0.0.1:0"], tls=pair(pems)) as run:
        make_pair(tmp_path, stem="a", days=(-9, -1))
        monkeypatch.setattr("turnd.runtime.reload.time.time", lambda: 4_100_000_000.0)
        result = await run.reload(auth={"users": dict([BOB])})
        assert result["ok"]
        assert "expired" in result["problems"][0]
        assert list(run.server.config.auth.users) == ["bob"]


async def test_tls_stays_while_an_endpoint_needs_it(tmp_path: Path) -> None:
    pems = make_pair(tmp_path, stem="a")
    async with running(tmp_path, listen=["tls://127.0.0.1:0"], tls=pair(pems)) as run:
        before = await serial(run.port("tls"))
        for _ in range(2):
            result = await run.reload(tls=None, listen=["udp://127.0.0.1:0"])
            assert (result["live"], result["restart"]) == ([], ["tls", "listen"])
            assert await serial(run.port("tls")) == before


async def test_the_own_secret_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path, auth=None) as run:
        secret = (tmp_path / "state/secret").read_text().strip()
        assert await is_let_in(run, rest(secret))
        assert (await run.reload(shutdown={"timeout": 3}))["ok"]
        assert await is_let_in(run, rest(secret))
        await run.reload(auth={"users": dict([BOB])})
        assert not await is_let_in(run, rest(secret))
        await run.reload(auth=None)
        assert await is_let_in(run, rest(secret))


async def test_an_own_secret_made_at_a_reload(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        (tmp_path / "state").write_text("in the way of a folder")
        result = await run.reload(auth={})
        assert not result["ok"]
        assert str(tmp_path / "state") in result["problems"][0]
        assert await is_let_in(run, ALICE)
        (tmp_path / "state").unlink()
        assert (await run.reload())["ok"]
        assert await is_let_in(run, rest((tmp_path / "state/secret").read_text().strip()))


async def test_the_signal_and_the_socket_do_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        with Signals(run.server):
            values = run.values | {"auth": {"users": dict([BOB])}}
            run.values = values
            write_config(tmp_path, values)
            os.kill(os.getpid(), signal.SIGHUP)
            await eventually(lambda: run.logged("reloaded"))
            assert await is_let_in(run, BOB)
        write_config(tmp_path, values | {"auth": {"users": dict([ALICE])}, "user": "x"})
        result = await run.order("/v1/reload")
        assert result == {"ok": True, "live": ["auth.users"], "restart": ["user"], "problems": []}
        assert await is_let_in(run, ALICE)


async def test_a_storm_of_signals_is_one_reload(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        with Signals(run.server):
            for _ in range(50):
                os.kill(os.getpid(), signal.SIGHUP)
            await eventually(lambda: run.logged("reloaded"))
        assert (await run.order("/v1/reload"))["ok"]  # after all that wait
        reloads = len(run.logged("reloaded"))
        assert reloads <= 3
        with Signals(run.server):
            os.kill(os.getpid(), signal.SIGHUP)
            await eventually(lambda: len(run.logged("reloaded")) > reloads)


async def test_no_reload_once_the_end_has_begun(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await (await run.client()).allocate()
        run.server.ending.ask("SIGTERM")
        result = await run.reload(shutdown={"timeout": 1})
        assert result["problems"] == ["the server is about to end"]


async def test_every_key_that_needs_a_restart_stays_in_the_running_configuration(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as run:
        before = run.server.config
        await run.reload(
            engine="portable",
            workers=3,
            software="x",
            sockets={"receive_buffer": 1},
            admin={"listen": None},
        )
        assert compare(before, run.server.config).restart == []


async def test_a_web_server_behind_and_proxies_in_front(tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path)
    tls = {"certificate": certificate, "key": key}

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"the web server")
        writer.close()

    web = await asyncio.start_server(serve, "127.0.0.1", 0)
    behind = f"127.0.0.1:{web.sockets[0].getsockname()[1]}"
    async with running(tmp_path, listen=["tls://127.0.0.1:0"], tls=tls) as run, web:

        async def asked(data: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", run.port("tls"))
            writer.write(data)
            writer.write_eof()
            try:
                async with asyncio.timeout(LIMIT):
                    return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

        get, header = b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
        assert b"web" not in await asked(get)
        assert (await run.reload(passthrough=behind))["live"] == ["passthrough"]
        assert await asked(get) == b"the web server"
        trusted = {"trusted": ["127.0.0.1"]}
        assert (await run.reload(proxy_protocol=trusted))["live"] == ["proxy_protocol.trusted"]
        assert await asked(get) == b""
        assert await asked(header + get) == b"the web server"
        assert (await run.reload(passthrough=None))["live"] == ["passthrough"]
        assert b"web" not in await asked(header + get)
