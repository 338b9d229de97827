from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.e2e.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Vouches for the servers of these tests."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_tls(authority: Authority) -> ssl.SSLContext:
    """A server's context with a certificate for loopback, 30 days long."""
    return context_of(authority, "client-tests", 30)


def context_of(authority: Authority, stem: str, days: int) -> ssl.SSLContext:
    pair = authority.issue(stem, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(pair.certificate), Path(pair.key))
    context.set_alpn_protocols(["stun.turn"])
    return context
