from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from turnd.client.certificate import SOON, certificate_facts, today
from turnd.client.echo import EchoResult
from turnd.client.errors import StunError
from turnd.client.redirect import Elsewhere
from turnd.client.report import Status
from turnd.client.steps import (
    certificate_step,
    challenge_step,
    connect_step,
    echo_step,
    redirect_step,
)
from turnd.client.tls import TlsDetails
from turnd.client.uri import Server, Transport
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from tests.e2e.certificates import Authority


@pytest.fixture
def tls(authority: Authority) -> TlsDetails:
    pem = Path(authority.issue("steps", 30).certificate).read_text()
    return TlsDetails(
        "TLSv1.3", "TLS_AES_128_GCM_SHA256", ssl.PEM_cert_to_DER_cert(pem), "stun.turn"
    )


def test_a_connection_has_a_time_and_perhaps_a_handshake(tls: TlsDetails) -> None:
    plain = connect_step(0.00125, None)
    assert (plain.text, plain.values) == ("1.25 ms", {"time_ms": 1.25})
    assert connect_step(0.0125, tls).text == "12.5 ms, TLSv1.3, TLS_AES_128_GCM_SHA256"


def test_a_challenge_without_its_parts_fails() -> None:
    server = Server("h", 3478, Transport.UDP)
    step = challenge_step(StunError(401, "no"), server)
    assert (step.status, step.text) == (Status.FAILED, "401 no without realm and nonce")


HERE = TransportAddress("192.0.2.1", 3478)
FORMER = TransportAddress("192.0.2.2", 3478)


@pytest.mark.parametrize(
    ("there", "former", "status", "text"),
    [
        (TransportAddress("192.0.2.3", 1), None, Status.OK, "300, to 192.0.2.3:1 (b.test)"),
        (TransportAddress("192.0.2.3", 1), FORMER, Status.FAILED, "we were sent to ourselves"),
        (HERE, None, Status.FAILED, "in a circle"),
        (FORMER, FORMER, Status.FAILED, "in a circle"),
        (None, None, Status.FAILED, "to no server of our address family"),
    ],
)
def test_a_redirect_is_one_step_away(
    there: TransportAddress | None, former: TransportAddress | None, status: Status, text: str
) -> None:
    elsewhere = None if there is None else Elsewhere(there, "b.test")
    step = redirect_step(elsewhere, HERE, former)
    assert step.status is status
    assert text in step.text
    assert step.values["code"] == 300
    assert bool(step.fix) is (status is Status.FAILED)


@pytest.mark.parametrize(
    ("days", "status"),
    [
        (SOON, Status.OK),
        (SOON - 1, Status.WARNING),
        (0, Status.WARNING),
        (-1, Status.FAILED),
    ],
)
def test_a_certificate_is_worth_a_warning_in_time(
    tls: TlsDetails, days: int, status: Status
) -> None:
    end = certificate_facts(tls.certificate).not_after
    step = certificate_step(tls, end - timedelta(days=days), None)
    assert step.status is status
    assert step.text == f"{days} days left, for localhost, 127.0.0.1, ::1"
    assert step.values["days_left"] == days
    assert bool(step.fix) is (status is not Status.OK)


def test_a_certificate_that_is_not_trusted_fails_however_new(tls: TlsDetails) -> None:
    begin = certificate_facts(tls.certificate).not_after - timedelta(days=30)
    step = certificate_step(tls, begin, "self-signed")
    assert step.status is Status.FAILED
    assert step.text.startswith("self-signed (30 days left")


@pytest.mark.parametrize(
    ("back", "status"),
    [(10, Status.OK), (9, Status.WARNING), (8, Status.FAILED), (0, Status.FAILED)],
)
def test_a_tenth_of_the_echoes_may_be_lost(back: int, status: Status) -> None:
    step = echo_step(EchoResult(10, (0.001,) * back))
    assert step.status is status
    assert step.text.startswith(f"{back} of 10 came back")
    assert step.values["received"] == back
    assert ("min_ms" in step.values) is (back > 0)


def test_times_are_milliseconds() -> None:
    values = echo_step(EchoResult(2, (0.001, 0.0025))).values
    assert (values["min_ms"], values["avg_ms"], values["max_ms"]) == (1.0, 1.75, 2.5)


def test_a_certificate_that_cannot_be_read_fails_and_no_more() -> None:
    broken = TlsDetails("TLSv1.3", "", b"\x30\x00", None)
    step = certificate_step(broken, today(), None)
    assert step.status is Status.FAILED
    assert "cannot be read" in step.text
