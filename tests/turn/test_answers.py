from __future__ import annotations

from typing import Any

import pytest

from tests.turn.harness import World, code_of
from turnd.auth.credentials import Credential
from turnd.auth.passed_nonce import is_passed_nonce
from turnd.engine.base import Leg, ListenerId, ListenerSettings, Transport
from turnd.engine.fake import FakeEngine
from turnd.stun import attributes as a
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress
from turnd.stun.errors import ErrorCode
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    Message,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)
from turnd.turn.answers import Elsewhere, error_response, fitting, send_answer, unknown_attributes
from turnd.turn.events import RequestRefused
from turnd.turn.redirect import Alternate
from turnd.turn.request import Refused
from turnd.turn.settings import TurnSettings

SIGNED_WITH = Integrity(b"key", IntegrityAlgorithm.SHA1)
LONG = (a.REALM, "r" * 60)
Values = list[tuple[a.Attribute[Any], Any]]


def leg(transport: Transport = Transport.UDP, host: str = "203.0.113.5") -> Leg:
    server = ServerAddress(TransportAddress("192.0.2.1", 3478))
    return Leg(ListenerId(1), transport, server, ClientAddress(TransportAddress(host, 4000)))


def request(*, fingerprint: bool = False) -> Message:
    return decode_untrusted(
        encode_message(
            Method.REFRESH,
            MessageClass.REQUEST,
            bytes(range(12)),
            ((a.LIFETIME, 600),),
            fingerprint=fingerprint,
        )
    )


def answered(data: bytes) -> tuple[Message, a.ErrorCodeValue]:
    answer = decode_untrusted(data)
    error = answer.get(a.ERROR_CODE)
    assert error is not None
    return answer, error


def test_it_answers_the_request_with_the_code_and_the_rfcs_phrase() -> None:
    answer, error = answered(error_response(request(), leg(), Refused(ErrorCode.BAD_REQUEST, "x")))
    assert (answer.method, answer.message_class) == (Method.REFRESH, MessageClass.ERROR)
    assert answer.transaction_id == bytes(range(12))
    assert error == (400, "Bad Request")
    assert not answer.has_integrity


def test_why_is_never_sent() -> None:
    refused = Refused(ErrorCode.FORBIDDEN, "peer 10.0.0.1 is secret", integrity=SIGNED_WITH)
    assert b"secret" not in error_response(request(), leg(), refused)


def test_unknown_attributes_are_listed() -> None:
    answer, error = answered(error_response(request(), leg(), unknown_attributes((3, 0x7777))))
    assert error.code == 420
    assert answer.get(a.UNKNOWN_ATTRIBUTES) == (3, 0x7777)


def test_who_has_shown_his_address_is_told_the_software_and_a_stranger_is_not() -> None:
    signed = Refused(ErrorCode.FORBIDDEN, integrity=SIGNED_WITH)
    answer, _ = answered(error_response(request(), leg(), signed, "turnd"))
    assert answer.get(a.SOFTWARE) == "turnd"
    assert answer.verify_integrity(b"key", IntegrityAlgorithm.SHA1)
    answer, _ = answered(error_response(request(), leg(), Refused(ErrorCode.FORBIDDEN)))
    assert not answer.has(a.SOFTWARE)


def test_no_software_where_none_is_configured() -> None:
    signed = Refused(ErrorCode.FORBIDDEN, integrity=SIGNED_WITH)
    answer, _ = answered(error_response(request(), leg(), signed, ""))
    assert not answer.has(a.SOFTWARE)


@pytest.mark.parametrize("fingerprint", [True, False])
def test_fingerprint_for_who_sent_one(fingerprint: bool) -> None:
    refused = Refused(ErrorCode.FORBIDDEN)
    answer, _ = answered(error_response(request(fingerprint=fingerprint), leg(), refused))
    assert answer.has_fingerprint is fingerprint


def test_what_is_too_long_for_a_stranger_goes_without_its_phrase() -> None:
    refused = Refused(ErrorCode.UNAUTHENTICATED, "", (LONG,))
    _, error = answered(error_response(request(), leg(), refused))
    assert error == (401, "")


@pytest.mark.parametrize("fingerprint", [True, False])
def test_a_request_too_small_for_a_challenge_gets_the_bare_code(fingerprint: bool) -> None:
    refused = Refused(ErrorCode.UNAUTHENTICATED, "", ((a.REALM, "r" * 52),))
    bare = decode_untrusted(
        encode_message(Method.REFRESH, MessageClass.REQUEST, bytes(12), (), fingerprint=fingerprint)
    )
    answer, error = answered(error_response(bare, leg(), refused))
    assert error == (401, "")
    assert not answer.has(a.REALM)
    assert answered(error_response(bare, leg(host="2001:db8::5"), refused))[0].has(a.REALM)
    # Who begins as clients do is challenged, however long the realm.
    data = error_response(request(fingerprint=fingerprint), leg(), refused)
    assert answered(data)[0].has(a.REALM)


def test_third_parties_are_left_out_where_a_stranger_would_get_too_much() -> None:
    def told(size: int, software: str | None = None) -> tuple[bool, str]:
        attributes = ((a.REALM, "r" * size), (a.THIRD_PARTY_AUTHORIZATION, "turn.test"))
        refused = Refused(ErrorCode.UNAUTHENTICATED, "", attributes)
        answer, error = answered(error_response(request(), leg(), refused, software))
        assert answer.get(a.REALM) == "r" * size
        return answer.has(a.THIRD_PARTY_AUTHORIZATION), error.reason

    # Of 84 bytes: header and code 28, the realm's header 4, the other attribute 16, the phrase 16.
    assert told(20) == (True, "Unauthenticated")
    assert told(24) == told(36) == (True, "")
    assert told(40) == told(60) == (False, "")
    assert told(60, "turnd") == (True, "Unauthenticated")


def test_headers_of_ipv6_leave_more_room() -> None:
    # 28 bytes of request: 112 bytes may go out by IPv4, 152 by IPv6, headers included.
    refused = Refused(ErrorCode.UNAUTHENTICATED, "", ((a.REALM, "r" * 44),))
    assert answered(error_response(request(), leg(), refused))[1].reason == ""
    ipv6 = leg(host="2001:db8::5")
    assert answered(error_response(request(), ipv6, refused))[1].reason == "Unauthenticated"


def test_a_stream_cannot_be_spoofed() -> None:
    refused = Refused(ErrorCode.UNAUTHENTICATED, "", (LONG,))
    for transport in (Transport.TCP, Transport.TLS):
        _, error = answered(error_response(request(), leg(transport), refused))
        assert error.reason == "Unauthenticated"


def test_a_signature_alone_shows_no_address() -> None:
    """Of 84 bytes 20 are the header, 8 the code and 24 the integrity."""
    for size, realm, phrase in ((12, True, "Stale Nonce"), (28, True, ""), (32, False, "")):
        refused = Refused(ErrorCode.STALE_NONCE, "", ((a.REALM, "r" * size),), SIGNED_WITH)
        answer, error = answered(error_response(request(), leg(), refused))
        assert (answer.has(a.REALM), error) == (realm, (438, phrase))
        assert answer.verify_integrity(*SIGNED_WITH)
        answer, error = answered(error_response(request(), leg(), refused, ""))
        assert (answer.has(a.REALM), error) == (True, (438, "Stale Nonce"))


def test_attributes_that_have_no_room_are_left_out_from_the_last_one_on() -> None:
    client = leg().client
    addresses: Values = [(a.XOR_MAPPED_ADDRESS, client), (a.MAPPED_ADDRESS, client)]
    long: Values = [*addresses, (a.PADDING, bytes(500)), (a.SOFTWARE, "x")]
    assert list(fitting(long, request(), leg())) == addresses
    assert fitting(addresses, request(), leg()) == addresses
    assert fitting(long, request(), leg(Transport.TCP)) == long
    sealed = request(fingerprint=True)
    exactly = 2 * (28 + sealed.size) - 28 - 20 - 8 - 12
    fits: Values = [(a.XOR_MAPPED_ADDRESS, client), (a.PADDING, bytes(exactly - 4))]
    assert fitting(fits, sealed, leg()) == fits
    assert len(fitting([fits[0], (a.PADDING, bytes(exactly))], sealed, leg())) == 1


def test_an_answer_leaves_by_its_leg_or_by_the_way_it_names() -> None:
    engine = FakeEngine(lambda: 0.0)
    settings = ListenerSettings()
    here, there = (TransportAddress(f"192.0.2.{n}", 3478) for n in (1, 2))
    came = leg()._replace(listener=engine.listen(here, settings))
    engine.listen(there, settings)
    send_answer(engine, came, b"back")
    elsewhere = came._replace(client=ClientAddress(TransportAddress("203.0.113.5", 5000)))
    send_answer(engine, came, Elsewhere(b"away", elsewhere, ServerAddress(there)))
    sent = [
        (each.data, each.leg.client.port, each.leg.local.host) for each in engine.sent_to_client
    ]
    assert sent == [(b"back", 4000, "192.0.2.1"), (b"away", 5000, "192.0.2.2")]


def test_what_a_handler_has_come_to_is_signed() -> None:
    client = World().client()
    answer = client.allocate()
    assert answer.message_class is MessageClass.SUCCESS
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)
    assert answer.get(a.SOFTWARE) == "turnd"
    bare = World(settings=TurnSettings(software="")).client().allocate()
    assert bare.get(a.SOFTWARE) is None


@pytest.mark.parametrize("fingerprint", [True, False])
def test_a_signed_answer_has_a_fingerprint_for_who_sent_one(fingerprint: bool) -> None:
    client = World().client()
    for transport in (17, 99):
        values = ((a.REQUESTED_TRANSPORT, transport),)
        answer = client.request(Method.ALLOCATE, values, fingerprint=fingerprint)
        assert answer.has_integrity
        assert answer.has_fingerprint is fingerprint


def test_a_refusal_is_signed_and_reported() -> None:
    world = World()
    client = world.client()
    answer = client.refresh()
    assert code_of(answer) == 437
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)
    (event,) = world.reported(RequestRefused)
    assert (event.leg, event.user, event.code) == (client.leg, "alice", 437)


def test_who_is_sent_elsewhere_is_given_a_nonce_for_there() -> None:
    world = World()
    client = world.client()
    world.state.draining = True
    world.state.redirection.alternates = (Alternate(TransportAddress("203.0.113.8", 0)),)
    answer = client.allocate()
    assert code_of(answer) == 300
    nonce = answer.get(a.NONCE) or ""
    alice = Credential("alice", "alice", {})
    assert is_passed_nonce(nonce, alice, client.integrity(), client.leg.client.host, world.wall)
    assert not client.allocate().has(a.NONCE)  # 508
