from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.best_engine import engine
from tests.e2e.conftest import authority, folders, server

if TYPE_CHECKING:
    from tests.e2e.certificates import Authority

__all__ = ["authority", "context_of", "engine", "folders", "server", "server_tls"]


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
