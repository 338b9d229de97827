from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from turnd.client.tls import Trust, client_tls, name_of

if TYPE_CHECKING:
    from tests.e2e.certificates import Authority


def test_an_authority_of_ones_own_is_the_only_one(authority: Authority) -> None:
    context = client_tls(Trust(str(authority.file)))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    issuers = [dict(pairs[0] for pairs in each["issuer"]) for each in context.get_ca_certs()]  # type: ignore[misc] # typeshed's guess
    assert issuers == [{"commonName": "turnd test authority"}]


def test_without_verifying_no_authority_is_read() -> None:
    context = client_tls(Trust("none.pem", verify=False))
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname
    assert not context.get_ca_certs()


def test_authorities_that_cannot_be_read_are_named() -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        client_tls(Trust("none.pem"))
    assert caught.value.filename == "none.pem"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("turn.example.org", "turn.example.org"),
        ("TURN.example.org.", "turn.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
    ],
)
def test_names_as_certificates_have_them(host: str, name: str) -> None:
    assert name_of(host) == name


@pytest.mark.parametrize("host", ["a..b", ".a", "a\0b", "x" * 64])
def test_what_is_no_name(host: str) -> None:
    with pytest.raises(ValueError, match=r"label|without end"):
        name_of(host)
