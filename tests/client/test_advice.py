from __future__ import annotations

import pytest

from turnd.client.advice import advice
from turnd.client.errors import (
    BidDownError,
    ClientError,
    IntegrityError,
    NotInstalledError,
    StunError,
    TransactionTimeoutError,
    UnreachableError,
    UntrustedError,
)
from turnd.client.uri import Server, Transport
from turnd.stun.errors import ErrorCode

UDP = Server("turn.example.org", 3478, Transport.UDP)
TLS = Server("turn.example.org", 5349, Transport.TLS)
DTLS = Server("turn.example.org", 5349, Transport.DTLS)


@pytest.mark.parametrize(
    ("error", "server", "part"),
    [
        (StunError(401, ""), UDP, "name and password"),
        (StunError(486, ""), UDP, "limits"),
        (StunError(403, ""), UDP, "peers.allow"),
        (StunError(508, ""), UDP, "relay.ports"),
        (StunError(699, ""), UDP, "log"),
        (BidDownError(""), UDP, "use TLS"),
        (IntegrityError(""), UDP, "use TLS"),
        (TransactionTimeoutError(""), UDP, "turn.example.org port 3478 by UDP"),
        (TransactionTimeoutError(""), TLS, "turn.example.org port 5349 by TCP"),
        (IntegrityError(""), UDP, "Redis is away"),
        (UnreachableError(""), TLS, "by TLS"),
        (UnreachableError(""), TLS, "without TLS: --transport udp --transport tcp"),
        (UntrustedError(""), DTLS, "by DTLS"),
        (UnreachableError(""), DTLS, "Few servers have DTLS"),
        (TransactionTimeoutError(""), DTLS, "turn.example.org port 5349 by UDP"),
        (NotInstalledError(""), DTLS, "pip install pyopenssl"),
        (ClientError(""), UDP, "log"),
    ],
)
def test_every_error_has_advice(error: ClientError, server: Server, part: str) -> None:
    assert part in advice(error, server)


@pytest.mark.parametrize(
    "code",
    [c for c in ErrorCode if c not in {405, 438, 443, 446, 447, 487}],
)
def test_every_code_that_a_check_can_meet_has_its_own(code: ErrorCode) -> None:
    assert advice(StunError(code, ""), UDP) != "Read the server's log."
