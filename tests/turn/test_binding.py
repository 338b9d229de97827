from __future__ import annotations

import pytest

from tests.turn.discovery import DiscoveryWorld
from tests.turn.harness import SHA256_ENTRY, World, code_of
from turnd.stun import attributes as a
from turnd.stun.message import IntegrityAlgorithm, Message, MessageClass, Method, decode_untrusted
from turnd.turn.binding import binding, has_long_term_credential
from turnd.turn.events import BindingAnswered


def decoded(answers: list[bytes]) -> Message:
    (answer,) = answers
    return decode_untrusted(answer)


@pytest.mark.parametrize("host", ["203.0.113.5", "2001:db8::5"])
def test_it_tells_the_clients_address(host: str) -> None:
    world = World()
    client = world.client(host, 4321)
    answer = client.ask(client.plain(Method.BINDING))
    assert answer.message_class is MessageClass.SUCCESS
    assert answer.get(a.XOR_MAPPED_ADDRESS) == (host, 4321)
    assert [number for number, _ in answer.attributes] == [a.XOR_MAPPED_ADDRESS.number]
    assert world.reported(BindingAnswered) == [BindingAnswered(client.leg)]


def test_on_a_stream_as_well() -> None:
    client = World().stream_client("203.0.113.6")
    answer = client.ask(client.plain(Method.BINDING))
    assert answer.get(a.XOR_MAPPED_ADDRESS) == ("203.0.113.6", 4000)


def test_its_attributes() -> None:
    world = World()
    client = world.client()
    request = decode_untrusted(client.plain(Method.BINDING))
    attributes = binding(world.state, client.leg, request)
    assert attributes == ((a.XOR_MAPPED_ADDRESS, client.leg.client),)


@pytest.mark.parametrize("sha256", [True, False])
def test_who_signs_with_a_long_term_credential_gets_a_signed_answer(sha256: bool) -> None:
    world = World()
    client = world.client()
    client.sha256 = sha256
    answer = client.request(Method.BINDING)
    algorithm = IntegrityAlgorithm.SHA256 if sha256 else IntegrityAlgorithm.SHA1
    assert answer.get(a.XOR_MAPPED_ADDRESS) == client.leg.client
    assert answer.verify_integrity(client.key(), algorithm)
    assert answer.get(a.SOFTWARE) == "turnd"
    assert world.reported(BindingAnswered) == [BindingAnswered(client.leg)]


def test_a_wrong_long_term_credential_is_401() -> None:
    client = World().client()
    client.password = "guess"
    assert code_of(client.request(Method.BINDING)) == 401


def test_the_short_term_credential_of_ice_is_not_ours_to_judge() -> None:
    client = World().client()
    answer = client.request(Method.BINDING, credentials=[(a.USERNAME, "abcd:efgh")])
    assert code_of(answer) is None
    assert not answer.has_integrity


def test_what_a_long_term_credential_is() -> None:
    client = World().client()
    whole = client.credentials((a.PASSWORD_ALGORITHM, SHA256_ENTRY))

    def judged(data: bytes) -> bool:
        return has_long_term_credential(decode_untrusted(data))

    assert judged(client.signed(Method.BINDING, credentials=whole))
    client.sha256 = True
    assert judged(client.signed(Method.BINDING, credentials=whole))
    assert not judged(client.plain(Method.BINDING, whole))
    for attribute in (a.REALM, a.NONCE):
        partial = client.credentials(without=[attribute])
        assert not judged(client.signed(Method.BINDING, credentials=partial))


def test_unknown_required_attributes_are_420() -> None:
    client = World().client()
    answer = client.ask(
        client.plain(Method.BINDING, ((a.CHANGE_REQUEST, a.ChangeRequest(True, True)),))
    )
    assert code_of(answer) == 420
    assert answer.get(a.UNKNOWN_ATTRIBUTES) == (0x0003,)


def test_fingerprint_for_who_sent_one() -> None:
    client = World().client()
    data = client.signed(Method.BINDING, credentials=[(a.USERNAME, "ice")], fingerprint=True)
    assert decoded(client.send(data)).has_fingerprint


@pytest.mark.parametrize("signed", [True, False])
def test_where_discovery_is_offered_it_tells_more(signed: bool) -> None:
    client = DiscoveryWorld().client()
    make = client.signed if signed else client.plain
    answer = client.ask(make(Method.BINDING))
    assert answer.get(a.XOR_MAPPED_ADDRESS) == client.leg.client
    assert answer.get(a.OTHER_ADDRESS) == ("192.0.2.2", 3479)
