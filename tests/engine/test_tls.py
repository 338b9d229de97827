from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

import pytest

from tests.e2e.certificates import Authority
from tests.engine.socket_worlds import tls_sides
from turnd.engine.tls import TlsSession, remember_server_name


class Client:
    """The other end of a session, in memory."""

    def __init__(self, server_name: str | None = "localhost") -> None:
        context = tls_sides()[1]
        if server_name != "localhost":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)

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


@pytest.mark.parametrize(
    ("asked", "told"), [("Turn.Example.ORG", "turn.example.org"), ("::1", None), (None, None)]
)
def test_it_is_remembered_whom_the_client_asked_for(asked: str | None, told: str | None) -> None:
    chosen: list[str | None] = []
    shared, another = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))

    def choose(name: str | None) -> ssl.SSLContext:
        chosen.append(name)
        return another

    with tempfile.TemporaryDirectory() as folder:
        pair = Authority(Path(folder)).issue("server")
        another.load_cert_chain(pair.certificate, pair.key)
    remember_server_name(shared, choose)
    session, client = TlsSession(shared), Client(asked)
    client.shake_hands(session)
    assert session.server_name == told
    assert chosen == [asked if told else None]


def test_a_context_that_remembers_no_name_tells_none() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert TlsSession(context).server_name is None


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
