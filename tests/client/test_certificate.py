from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.listeners.pems import make_pair
from turnd.client.certificate import CertificateFacts, certificate_facts, is_for, today

if TYPE_CHECKING:
    from tests.e2e.certificates import Authority


def der(path: Path | str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(path).read_text())


def test_names_issuer_and_days(authority: Authority) -> None:
    facts = certificate_facts(der(authority.issue("facts", 30).certificate))

    assert facts.names == ("localhost", "127.0.0.1", "::1")
    assert facts.issuer == "CN=turnd test authority"
    assert facts.days_left(today()) in {29, 30}


def test_without_alternative_names_the_common_name_counts(tmp_path: Path) -> None:
    facts = certificate_facts(der(make_pair(tmp_path)[0]))

    assert facts.names == ("turnd test",)


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("localhost", True),
        ("turn.example.org", True),
        ("a.wild.example", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("0::1", True),
        ("example.org", False),
        ("a.b.wild.example", False),
        ("127.0.0.2", False),
    ],
)
def test_whose_it_is(authority: Authority, host: str, fits: bool) -> None:
    pair = authority.issue("whose", 30, "turn.example.org", "*.Wild.example")
    assert is_for(der(pair.certificate), host) is fits


def test_what_is_no_certificate_is_nobodys() -> None:
    assert not is_for(b"no certificate", "localhost")


@pytest.mark.parametrize(("hours", "days"), [(47, 1), (24, 1), (23, 0), (0, 0), (-1, -1)])
def test_days_are_whole_and_negative_once_expired(hours: int, days: int) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)

    assert CertificateFacts((), "", now + timedelta(hours=hours)).days_left(now) == days


def test_what_is_no_certificate() -> None:
    with pytest.raises(ValueError, match="parsing"):
        certificate_facts(b"no certificate")
