"""DTLS between datagrams and messages, both sides in memory; the rest is in `contract_dtls`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from tests.engine.contract_dtls import MANY_NAMES, identity
from turnd.engine.base import TlsIdentity
from turnd.engine.dtls import COOKIE_TIME, Contexts, Cookies, Door, DtlsSession
from turnd.stun.dtls_records import LARGEST_HELLO, MTU, hello_random, is_message

WHO = ("198.51.100.1", 5)


class Client:
    """The other end, by memory."""

    def __init__(self, server_name: bytes | None = None) -> None:
        context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self.connection.set_ciphertext_mtu(MTU)
        if server_name is not None:
            self.connection.set_tlsext_host_name(server_name)

    def flight(self, *received: bytes) -> bytes:
        for datagram in received or (b"",):
            if datagram:
                self.connection.bio_write(datagram)
            try:
                self.connection.do_handshake()
            except SSL.WantReadError:
                continue
        try:
            return self.connection.bio_read(65_536)
        except SSL.WantReadError:
            return b""


def a_door(*identities: TlsIdentity, cookies: Cookies | None = None) -> Door:
    return Door(Contexts(identities or (identity("one.example"),), cookies or Cookies()))


def let_in(client: Client, door: Door) -> DtlsSession:
    question = door.knock(client.flight(), WHO, 0.0)
    assert isinstance(question, bytes)
    session = door.knock(client.flight(question), WHO, 0.0)
    assert isinstance(session, DtlsSession)
    return session


def connected(server_name: bytes | None = None) -> tuple[Client, DtlsSession]:
    client, door = Client(server_name), a_door()
    session = let_in(client, door)
    assert not session.handshake()
    session.feed(client.flight(*session.outgoing()))
    assert session.handshake()
    client.flight(*session.outgoing())
    return client, session


def test_a_session_carries_messages_until_a_side_says_goodbye() -> None:
    client, session = connected(b"One.Example")
    assert session.server_name == "one.example"
    client.connection.send(b"up")
    session.feed(client.connection.bio_read(65_536))
    assert session.read() == ([b"up"], False)
    client.connection.bio_write(session.write(b"down"))
    assert client.connection.recv(100) == b"down"
    client.connection.shutdown()
    session.feed(client.connection.bio_read(65_536))
    assert session.read() == ([], True)
    session.close()
    (alert,) = session.outgoing()
    assert alert[0] == 21


def test_nobody_may_be_asked_for() -> None:
    assert connected()[1].server_name is None


def test_nothing_leaves_when_there_is_nothing() -> None:
    session = connected()[1]
    assert session.outgoing() == []
    session.repeat()
    assert session.outgoing() == []


@pytest.mark.parametrize("length", [0, 16_385])
def test_what_fits_no_record(length: int) -> None:
    with pytest.raises(OSError, match="no record"):
        connected()[1].write(bytes(length))


def test_a_session_that_has_failed_says_no_goodbye() -> None:
    door, client = a_door(), Client()
    session = let_in(client, door)
    session.handshake()
    session.outgoing()
    session.feed(b"\x15\xfe\xfd\0\0\0\0\0\0\0\5\0\2\2\x28")  # a fatal alert
    with pytest.raises(SSL.Error):
        session.handshake()
    session.close()


def test_a_flight_is_cut() -> None:
    client = Client()
    session = let_in(client, a_door(identity(*MANY_NAMES)))
    assert not session.handshake()
    flight = session.outgoing()
    assert max(map(len, flight)) <= MTU
    assert len(flight) > 2
    session.feed(client.flight(*flight))
    assert session.handshake()


def test_the_door_asks_once_and_keeps_nothing() -> None:
    door, client, other = a_door(), Client(), Client()
    question = door.knock(client.flight(), WHO, 0.0)
    assert isinstance(question, bytes)
    hello = client.flight(question)
    assert isinstance(door.knock(other.flight(), WHO, 0.0), bytes)
    assert isinstance(door.knock(hello, ("198.51.100.2", 5), 0.0), bytes)
    assert isinstance(door.knock(hello, WHO, 2 * COOKIE_TIME), bytes)
    assert isinstance(door.knock(hello, WHO, 2 * COOKIE_TIME - 0.001), DtlsSession)


def test_a_cookie_stays_good_when_certificates_change() -> None:
    cookies, client = Cookies(), Client()
    question = a_door(cookies=cookies).knock(client.flight(), WHO, 0.0)
    assert isinstance(question, bytes)
    after = a_door(identity("other.example"), cookies=cookies)
    assert isinstance(after.knock(client.flight(question), WHO, 0.0), DtlsSession)


@given(st.binary(min_size=1, max_size=300))
def test_the_door_survives_anything(data_untrusted: bytes) -> None:
    door = a_door()
    assert door.knock(data_untrusted, WHO, 0.0) is None
    let_in(Client(), door)


@given(st.integers(0, 250), st.binary(min_size=1, max_size=20))
def test_the_door_survives_broken_hellos(place: int, piece: bytes) -> None:
    hello = Client().flight()
    door = a_door()
    door.knock((hello[:place] + piece + hello[place + len(piece) :])[:LARGEST_HELLO], WHO, 0.0)
    let_in(Client(), door)


def test_certificates_that_cannot_be_served() -> None:
    good, other = identity("one.example"), identity("other.example")
    for broken in (
        TlsIdentity(("a", "b"), b"", good.key),
        TlsIdentity(("a", "b"), good.certificate, b""),
        TlsIdentity(("a", "b"), good.certificate, other.key),
    ):
        with pytest.raises(OSError, match="no DTLS with the certificate for a, b"):
            Contexts([good, broken], Cookies())


def test_a_chain_is_sent_whole() -> None:
    one, other = identity("one.example"), identity("other.example")
    chain = TlsIdentity(("one.example",), one.certificate + other.certificate, one.key)
    client = Client()
    session = let_in(client, a_door(chain))
    session.handshake()
    session.feed(client.flight(*session.outgoing()))
    assert session.handshake()
    sent = client.connection.get_peer_cert_chain(as_cryptography=True)
    assert sent is not None
    assert len(sent) == 2


def test_a_hello_is_known_by_its_random() -> None:
    client = Client()
    first = client.flight()
    question = a_door().knock(first, WHO, 0.0)
    assert isinstance(question, bytes)
    random = hello_random(first)
    assert random == first[27:59] == hello_random(client.flight(question))


def test_a_record_alone_is_read_as_one_message() -> None:
    client, session = connected()
    client.connection.send(b"up")
    datagram = client.connection.bio_read(65_536)
    assert is_message(datagram)
    session.feed(datagram)
    assert session.read_one() == b"up"
    session.feed(datagram)
    assert session.read_one() is None, "no replay"
