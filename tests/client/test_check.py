from __future__ import annotations

import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.conftest import context_of
from tests.client.relaying import KEY, Relaying
from tests.client.scripted import FAST, PATIENT, Exchange, Script, mapped, scripted
from tests.client.scripted_dtls import scripted_dtls
from tests.ports import closed_port
from turnd.client.check import check
from turnd.client.check_settings import CheckSettings
from turnd.client.echo import Probes
from turnd.client.report import Report, Status, Step
from turnd.client.uri import Server, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.message import Method

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from tests.e2e.certificates import Authority, CertificatePair

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

    @pytest.mark.parametrize("code", [486, 300])
    async def test_a_user_with_one_allocation(self, code: int) -> None:
        """And a server that has no room for another one, and names another server."""

        class One(Relaying):
            def __call__(self, exchange: Exchange) -> None:
                self.refuse = {Method.ALLOCATE: code} if self.allocations else {}
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
        assert step_of(report, "connect").values["tls_version"] == "TLSv1.3"
        assert step_of(report, "connect").values["cipher"].startswith("TLS_")
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


class TestDtls:
    async def by_dtls(
        self, pair: CertificatePair, authority: Authority | None, **changes: Any
    ) -> Report:
        given = {"authorities": None if authority is None else str(authority.file)} | changes
        with Relaying() as relaying:
            async with scripted_dtls(relaying, pair) as server:
                return (await check([server.server], settings(**given)))[0]

    async def test_all_is_well(self, authority: Authority) -> None:
        report = await self.by_dtls(authority.issue("check-dtls", 30), authority)

        assert report.ok
        assert [step.name for step in report.steps] == [
            *("connect", "certificate", "binding", "challenge", "allocate", "permission", "echo")
        ]
        connect = step_of(report, "connect")
        assert connect.values["time_ms"] > 0
        assert connect.values["tls_version"] == "DTLSv1.2"
        assert connect.values["cipher"] in connect.text
        assert step_of(report, "certificate").values["names"] == ["localhost", "127.0.0.1", "::1"]
        assert step_of(report, "echo").values["received"] == 10

    @pytest.mark.parametrize(
        ("days", "trusts", "name", "why"),
        [
            (-3, True, None, "certificate has expired"),
            (30, False, None, "unable to get issuer certificate locally"),
            (30, True, "turn.example.org", "turn.example.org"),
        ],
    )
    async def test_a_certificate_that_is_not_trusted_fails_and_the_rest_is_looked_at(
        self, authority: Authority, days: int, trusts: bool, name: str | None, why: str
    ) -> None:
        pair = authority.issue(f"check-dtls-{days}", days)

        report = await self.by_dtls(pair, authority if trusts else None, server_name=name)

        certificate = step_of(report, "certificate")
        assert certificate.status is Status.FAILED
        assert why in certificate.text
        assert step_of(report, "connect").status is Status.OK
        assert step_of(report, "echo").status is Status.OK
        assert not report.ok

    async def test_nobody_there(self) -> None:
        with closed_port(socket.SOCK_DGRAM) as port:
            report = (await check([Server("127.0.0.1", port, Transport.DTLS)], settings()))[0]

        assert statuses(report) == {"connect": "failed"}
        assert "connection refused" in report.steps[0].text
        assert "dtls://" in report.steps[0].fix

    async def test_without_pyopenssl(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "OpenSSL", None)
        monkeypatch.delitem(sys.modules, "turnd.client.dtls_connection", raising=False)
        monkeypatch.delattr("turnd.client.dtls_connection", raising=False)

        report = (await check([Server("127.0.0.1", 1, Transport.DTLS)], settings()))[0]

        assert statuses(report) == {"connect": "failed"}
        assert "pyOpenSSL" in report.steps[0].text
        assert "pip install" in report.steps[0].fix


class Sending(Relaying):
    """Sends new allocations elsewhere, strangers' already or users' alone."""

    def __init__(self, *servers: TransportAddress, strangers: bool, domain: str = "") -> None:
        super().__init__()
        self.alternate: list[tuple[a.Attribute[Any], Any]] = [
            *((a.ALTERNATE_SERVER, server) for server in servers),
            *([(a.ALTERNATE_DOMAIN, domain)] if domain else []),
        ]
        self.strangers = strangers

    def __call__(self, exchange: Exchange) -> None:
        message = exchange.message
        signed = message.has_integrity_sha256
        if message.method == Method.ALLOCATE and (signed or self.strangers):
            exchange.fail(300, *self.alternate, integrity=KEY if signed else None)
        else:
            super().__call__(exchange)


def address_of(server: Server) -> TransportAddress:
    return TransportAddress(server.host, server.port)


class TestRedirect:
    @pytest.mark.parametrize("strangers", [False, True])
    @pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
    async def test_it_goes_on_at_the_other_server(
        self, transport: Transport, strangers: bool
    ) -> None:
        async with relaying_server(Relaying(), transport) as second:
            sending = Sending(address_of(second), strangers=strangers)
            async with relaying_server(sending, transport) as first:
                there, here = reversed(await check([first], settings()))

        redirect = here.steps[-1]
        assert (redirect.name, redirect.status) == ("redirect", Status.OK)
        assert redirect.text == f"300, to {address_of(second)}"
        assert redirect.values == {
            "code": 300, "alternate": str(address_of(second)), "domain": None,
        }  # fmt: skip
        assert ("challenge" in statuses(here)) is not strangers
        assert there.server == second
        assert there.ok
        assert there.steps[-1].name == "echo"

    async def test_its_certificate_has_the_name_that_is_said(self, authority: Authority) -> None:
        pairs = [authority.issue(f"check-{name}", 30, name) for name in ("a.test", "b.test")]
        given = settings(authorities=str(authority.file), server_name="a.test")
        for domain, ok in (("b.test", True), ("c.test", False)):
            with Relaying() as relaying:
                async with scripted_dtls(relaying, pairs[1]) as second:
                    sending = Sending(address_of(second.server), strangers=False, domain=domain)
                    async with scripted_dtls(sending, pairs[0]) as first:
                        here, there = await check([first.server], given)

            assert here.ok
            assert here.steps[-1].values["domain"] == domain
            assert domain in here.steps[-1].text
            assert there.ok is ok
            assert (step_of(there, "certificate").status is Status.OK) is ok

    async def test_without_a_name_it_is_that_of_the_first(self, authority: Authority) -> None:
        pair = authority.issue("check-a", 30, "a.test")
        given = settings(authorities=str(authority.file), server_name="a.test")
        with Relaying() as relaying:
            async with scripted_dtls(relaying, pair) as second:
                sending = Sending(address_of(second.server), strangers=False)
                async with scripted_dtls(sending, pair) as first:
                    reports = await check([first.server], given)

        assert [report.ok for report in reports] == [True, True]

    async def test_two_servers_that_send_to_each_other_fail(self) -> None:
        first = Sending(strangers=False)
        async with (
            relaying_server(first) as here,
            relaying_server(Sending(address_of(here), strangers=False)) as there,
        ):
            first.alternate = [(a.ALTERNATE_SERVER, address_of(there))]
            reports = await check([here], settings())

        assert [report.ok for report in reports] == [True, False]
        assert "in a circle" in reports[1].steps[-1].text

    async def test_a_server_that_sends_to_itself_fails(self) -> None:
        sending = Sending(strangers=False)
        async with relaying_server(sending) as here:
            sending.alternate = [(a.ALTERNATE_SERVER, address_of(here))]
            reports = await check([here], settings())

        assert [report.ok for report in reports] == [False]
        assert "in a circle" in reports[0].steps[-1].text

    async def test_it_is_sent_once(self) -> None:
        third = TransportAddress("127.0.0.1", 9)
        async with relaying_server(Sending(third, strangers=False)) as second:
            sending = Sending(address_of(second), strangers=False)
            async with relaying_server(sending) as first:
                reports = await check([first], settings())

        assert [report.ok for report in reports] == [True, False]
        last = reports[1].steps[-1]
        assert last.name == "redirect"
        assert last.values["alternate"] == "127.0.0.1:9"
        assert "the last" in last.fix

    async def test_nowhere_fails(self) -> None:
        for servers in ((), (TransportAddress("2001:db8::1", 3478),)):
            async with relaying_server(Sending(*servers, strangers=False)) as first:
                report = (await check([first], settings()))[0]

            assert report.steps[-1].status is Status.FAILED
            assert "no server of our address family" in report.steps[-1].text

    async def test_a_malformed_alternate_fails(self) -> None:
        sending = Sending(strangers=False)
        sending.alternate = [(a.raw(a.ALTERNATE_SERVER.number), b"\0\x09\0\0")]
        async with relaying_server(sending) as first:
            report = (await check([first], settings()))[0]

        assert (report.steps[-1].name, report.steps[-1].status) == ("redirect", Status.FAILED)
        assert "ALTERNATE-SERVER is malformed" in report.steps[-1].text

    async def test_our_own_address_is_asked_of_the_other_server(self) -> None:
        async with relaying_server(Relaying(refuse_relayed=True)) as second:
            sending = Sending(address_of(second), strangers=False)
            async with relaying_server(sending) as first:
                reports = await check([first], settings())

        assert step_of(reports[1], "permission").values["peer_is"] == "reflexive"
        assert reports[1].ok
