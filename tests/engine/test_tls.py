from __future__ import annotations

import ssl

import pytest

from tests.engine.socket_worlds import tls_sides
from turnd.engine.tls import TlsSession


class Client:
    """The other end of a session, in memory."""

    def __init__(self) -> None:
        context = tls_sides()[1]
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def shake_hands(self, session: TlsSession) -> None:
        for _ in range(5):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                complete = False
            else:
                complete = True
            session.feed(self.outgoing.read())
            if session.handshake() and complete:
                return
            self.incoming.write(session.outgoing())
        raise AssertionError("no handshake")


def connected() -> tuple[TlsSession, Client]:
    session, client = TlsSession(tls_sides()[0].context), Client()
    client.shake_hands(session)
    client.incoming.write(session.outgoing())
    return session, client


def test_bytes_pass_both_ways() -> None:
    session, client = connected()
    for number in range(100):
        client.tls.write(bytes([number]) * 1_000)
    session.feed(client.outgoing.read())
    expected = b"".join(bytes([number]) * 1_000 for number in range(100))
    assert session.read() == (expected, False)
    assert session.read() == (b"", False)
    session.write(b"answer")
    client.incoming.write(session.outgoing())
    assert client.tls.read() == b"answer"


def test_part_of_a_record_waits() -> None:
    session, client = connected()
    client.tls.write(b"whole")
    record = client.outgoing.read()
    session.feed(record[:-1])
    assert session.read() == (b"", False)
    session.feed(record[-1:])
    assert session.read() == (b"whole", False)


def test_a_farewell_comes_after_what_was_sent() -> None:
    session, client = connected()
    client.tls.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    session.feed(client.outgoing.read())
    assert session.read() == (b"last words", True)


def test_our_farewell_ends_the_client() -> None:
    session, client = connected()
    session.close()
    client.incoming.write(session.outgoing())
    assert client.tls.read() == b""
    session.close()


def test_a_record_that_is_wrong() -> None:
    session, client = connected()
    client.tls.write(b"data")
    record = bytearray(client.outgoing.read())
    record[-1] ^= 1
    session.feed(bytes(record))
    with pytest.raises(ssl.SSLError):
        session.read()
    with pytest.raises(ssl.SSLError):
        session.write(b"data")
    session.close()


def test_what_is_no_handshake() -> None:
    session = TlsSession(tls_sides()[0].context)
    session.feed(b"\x16\x03\x01\x00\x05hello")
    with pytest.raises(ssl.SSLError):
        session.handshake()
    assert session.outgoing()
