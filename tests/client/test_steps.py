from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from turnd.client.certificate import SOON, certificate_facts, today
from turnd.client.echo import EchoResult
from turnd.client.report import Status
from turnd.client.steps import certificate_step, echo_step
from turnd.client.stream_connection import TlsDetails

if TYPE_CHECKING:
    from tests.e2e.certificates import Authority


@pytest.fixture
def tls(authority: Authority) -> TlsDetails:
    pem = Path(authority.issue("steps", 30).certificate).read_text()
    return TlsDetails("TLSv1.3", ssl.PEM_cert_to_DER_cert(pem), "stun.turn")


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
    assert step.text == f"TLSv1.3, {days} days left, for localhost, 127.0.0.1, ::1"
    assert step.values["days_left"] == days
    assert bool(step.fix) is (status is not Status.OK)


def test_a_certificate_that_is_not_trusted_fails_however_new(tls: TlsDetails) -> None:
    begin = certificate_facts(tls.certificate).not_after - timedelta(days=30)
    step = certificate_step(tls, begin, "self-signed")
    assert step.status is Status.FAILED
    assert step.text.startswith("self-signed (TLSv1.3, 30 days left")


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
    broken = TlsDetails("TLSv1.3", b"\x30\x00", None)
    step = certificate_step(broken, today(), None)
    assert step.status is Status.FAILED
    assert "cannot be read" in step.text
