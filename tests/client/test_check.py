from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.conftest import context_of
from tests.client.relaying import Relaying
from tests.client.scripted import FAST, PATIENT, Exchange, Script, mapped, scripted
from tests.ports import closed_port
from turnd.client.check import CheckSettings, check
from turnd.client.echo import Probes
from turnd.client.report import Report, Status, Step
from turnd.client.uri import Server, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.message import Method

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from tests.e2e.certificates import Authority

PROBES = Probes(count=10, interval=0, patience=30)
LOSSY = replace(PROBES, patience=0.2)
"""So that a test where something is lost does not wait for it."""


def settings(**changes: Any) -> CheckSettings:
    given: dict[str, Any] = {
        "username": "alice",
        "password": "s3cret",
        "probes": PROBES,
        "timing": PATIENT,
    }
    return CheckSettings(**given | changes)


def statuses(report: Report) -> dict[str, str]:
    return {step.name: str(step.status) for step in report.steps}


def step_of(report: Report, name: str) -> Step:
    return next(step for step in report.steps if step.name == name)


@asynccontextmanager
async def relaying_server(
    relaying: Relaying, transport: Transport = Transport.UDP, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    relaying.padded = transport.is_stream
    with relaying:
        async with scripted(relaying, transport, tls) as server:
            yield server.server


async def checked(relaying: Relaying, **changes: Any) -> Report:
    """The check of a relaying server over UDP."""
    async with relaying_server(relaying) as server:
        return (await check([server], settings(**changes)))[0]


async def scripted_check(script: Script, **changes: Any) -> Report:
    async with scripted(script) as server:
        return (await check([server.server], settings(**changes)))[0]


async def test_all_is_well_over_udp() -> None:
    report = await checked(Relaying())

    assert report.ok
    assert statuses(report) == dict.fromkeys(
        ["binding", "challenge", "allocate", "permission", "echo"], "ok"
    )
    assert step_of(report, "binding").values["mapped"] == step_of(report, "binding").values["local"]
    assert step_of(report, "challenge").values == {"realm": "example.org"}
    assert step_of(report, "allocate").values["lifetime"] == 600
    assert step_of(report, "allocate").values["algorithm"] == "SHA256"
    assert step_of(report, "permission").values["peer_is"] == "relayed"
    echo = step_of(report, "echo").values
    assert (echo["sent"], echo["received"], echo["loss"]) == (10, 10, 0)
    assert echo["min_ms"] <= echo["avg_ms"] <= echo["max_ms"]


async def test_all_is_well_over_tcp() -> None:
    async with relaying_server(Relaying(), Transport.TCP) as server:
        report = (await check([server], settings()))[0]

    assert report.ok
    assert next(iter(statuses(report))) == "connect"
    assert step_of(report, "connect").values["time_ms"] > 0


async def test_every_allocation_is_deleted() -> None:
    relaying = Relaying()

    await checked(relaying)

    assert not relaying.allocations


async def test_without_credentials_the_rest_is_skipped() -> None:
    report = await checked(Relaying(), username=None)

    assert report.ok
    assert statuses(report) == {
        "binding": "ok",
        "challenge": "ok",
        "allocate": "skipped",
        "permission": "skipped",
        "echo": "skipped",
    }
    assert "--user" in step_of(report, "echo").fix


@pytest.mark.parametrize(
    ("refuse", "failed", "fix"),
    [
        ({Method.BINDING: 500}, "binding", "log"),
        ({Method.ALLOCATE: 300}, "challenge", "elsewhere"),
        ({Method.CREATE_PERMISSION: 508}, "permission", "relay.ports"),
        ({Method.CHANNEL_BIND: 403}, "echo", "peers.allow"),
    ],
)
async def test_a_refusal_ends_the_check_and_says_what_to_do(
    refuse: dict[int, int], failed: str, fix: str
) -> None:
    report = await checked(Relaying(refuse=refuse))

    assert not report.ok
    last = report.steps[-1]
    assert (last.name, last.status) == (failed, Status.FAILED)
    assert last.values["code"] in refuse.values()
    assert fix in last.fix


async def test_a_wrong_password() -> None:
    report = await checked(Relaying(), password="wrong")

    last = report.steps[-1]
    assert (last.name, last.status, last.values) == ("allocate", Status.FAILED, {"code": 401})
    assert "name and password" in last.fix


async def test_an_open_relay_fails() -> None:
    def open_to_all(exchange: Exchange) -> None:
        if exchange.message.method == Method.ALLOCATE:
            exchange.succeed((a.XOR_RELAYED_ADDRESS, TransportAddress("203.0.113.7", 5000)))
        else:
            mapped(exchange)

    report = await scripted_check(open_to_all)

    assert report.steps[-1].name == "challenge"
    assert "without credentials" in report.steps[-1].text
    assert "Anybody may relay" in report.steps[-1].fix


async def test_a_challenge_needs_realm_and_nonce() -> None:
    def forgetful(exchange: Exchange) -> None:
        if exchange.message.method == Method.ALLOCATE:
            exchange.fail(401, (a.REALM, "example.org"))
        else:
            mapped(exchange)

    report = await scripted_check(forgetful)

    assert report.steps[-1].status is Status.FAILED
    assert report.steps[-1].text == "401 scripted without realm and nonce"


async def test_silence_after_binding() -> None:
    def silent(exchange: Exchange) -> None:
        if exchange.message.method == Method.BINDING:
            mapped(exchange)

    report = await scripted_check(silent, timing=FAST)

    assert statuses(report) == {"binding": "ok", "challenge": "failed"}
    assert "no answer to 3 requests" in report.steps[-1].text


async def test_nobody_there() -> None:
    with closed_port(socket.SOCK_DGRAM) as udp_port, closed_port(socket.SOCK_STREAM) as tcp_port:
        servers = [
            Server("127.0.0.1", udp_port, Transport.UDP),
            Server("127.0.0.1", tcp_port, Transport.TCP),
        ]

        udp, tcp = await check(servers, settings(timing=FAST))

    assert statuses(udp) == {"binding": "failed"}
    assert statuses(tcp) == {"connect": "failed"}
    assert "refused" in tcp.steps[0].text
    assert "Is the server running" in tcp.steps[0].fix
    assert not udp.ok
    assert not tcp.ok


class TestEcho:
    async def test_some_loss_is_a_warning(self) -> None:
        # 100 echoes are 200 packets, of which 4 are lost.
        probes = Probes(count=100, interval=0, patience=2)
        report = await checked(Relaying(lose=50), probes=probes)

        assert report.ok
        assert step_of(report, "echo").status is Status.WARNING
        assert 0 < step_of(report, "echo").values["loss"] <= 0.1

    async def test_much_loss_fails(self) -> None:
        report = await checked(Relaying(lose=4), probes=LOSSY)

        assert not report.ok
        assert step_of(report, "echo").status is Status.FAILED
        assert step_of(report, "echo").values["loss"] > 0.1

    async def test_nothing_back_names_the_firewall(self) -> None:
        report = await checked(Relaying(lose=1), probes=LOSSY)

        assert step_of(report, "echo").text == "0 of 10 came back"
        assert step_of(report, "echo").values == {"sent": 10, "received": 0, "loss": 1.0}
        assert "firewall" in step_of(report, "echo").fix


class TestOtherPeer:
    async def test_relay_to_relay_refused_falls_back_to_our_own_address(self) -> None:
        report = await checked(Relaying(refuse_relayed=True))

        assert report.ok
        assert step_of(report, "permission").values["peer_is"] == "reflexive"
        assert step_of(report, "echo").values["received"] == 10

    async def test_a_user_with_one_allocation(self) -> None:
        class One(Relaying):
            def __call__(self, exchange: Exchange) -> None:
                self.refuse = {Method.ALLOCATE: 486} if self.allocations else {}
                super().__call__(exchange)

        report = await checked(One())

        assert report.ok
        assert step_of(report, "permission").values["peer_is"] == "reflexive"

    async def test_no_peer_at_hand(self) -> None:
        class OneAndNoBinding(Relaying):
            def __call__(self, exchange: Exchange) -> None:
                self.refuse = {Method.ALLOCATE: 486} if self.allocations else {}
                if not self.allocations or exchange.message.method != Method.BINDING:
                    super().__call__(exchange)

        last = (await checked(OneAndNoBinding(), timing=FAST)).steps[-1]

        assert (last.name, last.status) == ("permission", Status.FAILED)
        assert "no answer by UDP port" in last.text
        assert "--port" in last.fix

    async def test_every_peer_refused(self) -> None:
        report = await checked(Relaying(refuse={Method.CREATE_PERMISSION: 403}))

        last = report.steps[-1]
        assert (last.name, last.status, last.values) == ("permission", Status.FAILED, {"code": 403})
        assert "127.0.0.1" in last.text
        assert "another network" in last.fix

    async def test_another_refusal_of_our_own_address(self) -> None:
        class Later(Relaying):
            def __call__(self, exchange: Exchange) -> None:
                if len(self.allocations) == 2 and exchange.frame[0] < 0x40:
                    peer = exchange.message.get(a.XOR_PEER_ADDRESS)
                    own = {each.relayed for each in self.allocations.values()}
                    code = 403 if peer in own else 508
                    self.refuse = {Method.CREATE_PERMISSION: code}
                super().__call__(exchange)

        report = await checked(Later())

        assert report.steps[-1].values == {"code": 508}

    async def test_our_address_is_not_to_be_had(self) -> None:
        bindings: list[Exchange] = []

        class OneBinding(Relaying):
            def __call__(self, exchange: Exchange) -> None:
                is_stun = exchange.frame[0] < 0x40
                if is_stun and exchange.message.method == Method.BINDING:
                    bindings.append(exchange)
                    if len(bindings) > 1:
                        return
                super().__call__(exchange)

        report = await checked(OneBinding(refuse_relayed=True), timing=FAST)

        assert statuses(report)["permission"] == "failed"
        assert "no answer" in report.steps[-1].text


class TestRelayedAddress:
    async def test_only_ipv6_to_be_had(self) -> None:
        families: list[int | None] = []

        class OnlyIPv6(Relaying):
            def __call__(self, exchange: Exchange) -> None:
                message = exchange.message if exchange.frame[0] < 0x40 else None
                if (
                    message is not None
                    and message.method == Method.ALLOCATE
                    and message.has_integrity_sha256
                ):
                    family = message.get(a.REQUESTED_ADDRESS_FAMILY)
                    families.append(family)
                    self.refuse = {} if family == 2 else {Method.ALLOCATE: 440}
                super().__call__(exchange)
                self.refuse = {}

        report = await checked(OnlyIPv6())

        assert families[:2] == [None, 2]
        assert statuses(report)["allocate"] == "ok"

    async def test_a_private_address_of_a_public_server_is_a_warning(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "turnd.client.connection.UdpConnection.remote", TransportAddress("1.1.1.1", 3478)
        )

        report = await checked(Relaying())

        assert step_of(report, "allocate").status is Status.WARNING
        assert "relay.addresses" in step_of(report, "allocate").fix

    @pytest.mark.parametrize(
        ("announced", "status"), [("1.1.1.1", Status.OK), ("1.0.0.1", Status.WARNING)]
    )
    async def test_an_address_that_the_server_does_not_have_any_more_is_a_warning(
        self, announced: str, status: Status, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "turnd.client.connection.UdpConnection.remote", TransportAddress("1.1.1.1", 3478)
        )

        # Nothing comes back from such an address.
        report = await checked(Relaying(announced=announced), probes=LOSSY)

        step = step_of(report, "allocate")
        assert step.status is status
        assert ("the server itself is at 1.1.1.1" in step.text) is (status is Status.WARNING)


class TestTls:
    @pytest.fixture
    def make(self, authority: Authority) -> Callable[..., Any]:
        async def checked_tls(tls: ssl.SSLContext, **changes: Any) -> Report:
            given = {"authorities": str(authority.file)} | changes
            async with relaying_server(Relaying(), Transport.TLS, tls) as server:
                return (await check([server], settings(**given)))[0]

        return checked_tls

    async def test_all_is_well(self, make: Callable[..., Any], server_tls: ssl.SSLContext) -> None:
        report = await make(server_tls)

        assert report.ok
        values = step_of(report, "certificate").values
        assert values["tls_version"] == "TLSv1.3"
        assert values["days_left"] in {29, 30}
        assert values["names"] == ["localhost", "127.0.0.1", "::1"]
        assert values["issuer"] == "CN=turnd test authority"
        assert step_of(report, "echo").status is Status.OK

    async def test_soon_is_a_warning(
        self, make: Callable[..., Any], server_tls: ssl.SSLContext
    ) -> None:
        soon = datetime.now(UTC) + timedelta(days=20)

        report = await make(server_tls, wall_clock=lambda: soon)

        assert report.ok
        assert step_of(report, "certificate").status is Status.WARNING
        assert "Renew" in step_of(report, "certificate").fix

    async def test_expired_by_our_clock_alone(
        self, make: Callable[..., Any], server_tls: ssl.SSLContext
    ) -> None:
        later = datetime.now(UTC) + timedelta(days=40)

        report = await make(server_tls, wall_clock=lambda: later)

        assert step_of(report, "certificate").status is Status.FAILED
        assert step_of(report, "certificate").values["days_left"] < 0

    async def test_an_expired_certificate_fails_and_the_rest_is_looked_at(
        self, make: Callable[..., Any], authority: Authority
    ) -> None:
        report = await make(context_of(authority, "expired", -3))

        assert not report.ok
        certificate = step_of(report, "certificate")
        assert certificate.status is Status.FAILED
        assert "expired" in certificate.text
        assert certificate.values["days_left"] < 0
        assert step_of(report, "connect").status is Status.OK
        assert step_of(report, "echo").status is Status.OK

    async def test_an_unknown_authority_fails(
        self, make: Callable[..., Any], server_tls: ssl.SSLContext
    ) -> None:
        report = await make(server_tls, authorities=None)

        assert step_of(report, "certificate").status is Status.FAILED
        assert "--ca" in step_of(report, "certificate").fix
        assert [step.name for step in report.steps].count("certificate") == 1

    async def test_another_name_fails(
        self, make: Callable[..., Any], server_tls: ssl.SSLContext
    ) -> None:
        report = await make(server_tls, server_name="turn.example.org")

        assert step_of(report, "certificate").status is Status.FAILED
        assert "turn.example.org" in step_of(report, "certificate").text
