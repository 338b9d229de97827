from __future__ import annotations

import errno

import pytest

from turnd.client.errors import StunError, system_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (OSError(-2, "Name or service not known"), "name or service not known"),
        (OSError("All is lost"), "all is lost"),
        (ConnectionResetError(), "the connection was lost"),  # asyncio's, of a TLS handshake
    ],
)
def test_the_systems_words(error: OSError, words: str) -> None:
    assert system_words(error) == words


def test_an_error_response_is_its_code_and_its_phrase() -> None:
    assert str(StunError(401, "Unauthenticated")) == "401 Unauthenticated"
    assert str(StunError(486, "")) == "486"
