from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.turn.discovery import DiscoveryWorld
from tests.turn.harness import (
    OTHER_PEER,
    PEER,
    REALM,
    SECRET,
    Attributes,
    Client,
    StoreOfTests,
    World,
    code_of,
    from_peer,
)
from tests.turn.tcp import ask_to_connect, tcp_client, tcp_world
from tests.turn.tokens import THIRD_PARTY, token_client, token_world
from turnd.allocations.policy import PeerPolicy
from turnd.allocations.quotas import Quotas
from turnd.auth.credentials import Credential, DerivedKeys, Found, Unavailable
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.message import (
    IntegrityAlgorithm,
    Message,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)
from turnd.turn.answers import Elsewhere
from turnd.turn.events import (
    AllocationEnded,
    Authenticated,
    Dropped,
    EndReason,
    MessageDropped,
    RequestRefused,
)
from turnd.turn.settings import TurnSettings
from turnd.turn.waiting import NeedKey, WaitingRequests

if TYPE_CHECKING:
    from turnd.engine.base import Leg
    from turnd.turn.answers import Answer

TRANSPORT = (a.REQUESTED_TRANSPORT, 17)
DAVE = Credential("dave", "dave", DerivedKeys("dave", REALM, "davit"), source="redis")
FOUND = Found((DAVE,))
REQUESTS = [Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND]


def dropped(world: World) -> list[Dropped]:
    return [each.reason for each in world.reported(MessageDropped)]


def receive(client: Client, data: bytes) -> Answer | NeedKey | None:
    """Straight to the server, past the engine's first look."""
    return client.world.server.receive(client.leg, data, client.world.now)


# What gets no answer.


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        bytes(19),
        bytes(20),
        b"\x00\x03\x00\x00\x21\x12\xa4\x43" + bytes(12),  # wrong magic cookie
        b"\x00\x03\x00\x04\x21\x12\xa4\x42" + bytes(12),  # a length that lies
        b"\x00\x03\x00\x02\x21\x12\xa4\x42" + bytes(14),  # no multiple of 4
        b"\x00\x03\x00\x04\x21\x12\xa4\x42" + bytes(12) + b"\x00\x06\x00\x09",  # overruns
        b"\x40\x00\x00\x04data",
        b"\xff" * 100,
        bytes(65_535),
    ],
)
def test_what_is_no_message_is_dropped_and_counted(data: bytes) -> None:
    world = World()
    assert receive(world.client(), data) is None
    assert dropped(world) == [Dropped.MALFORMED]


@pytest.mark.parametrize("method", [Method.BINDING, *REQUESTS])
def test_a_wrong_fingerprint_is_dropped_silently(method: Method) -> None:
    world = World()
    client = world.client()
    data = client.signed(method, fingerprint=True)
    assert receive(client, data[:-1] + bytes([data[-1] ^ 1])) is None
    assert dropped(world) == [Dropped.MALFORMED]
    assert receive(client, data) is not None


@pytest.mark.parametrize(
    "message_class", [MessageClass.INDICATION, MessageClass.SUCCESS, MessageClass.ERROR]
)
@pytest.mark.parametrize("method", [*REQUESTS, Method.BINDING, Method.DATA, 0x7FF])
def test_only_requests_are_answered(message_class: MessageClass, method: int) -> None:
    world = World()
    client = world.client()
    assert receive(client, encode_message(method, message_class, bytes(12), ())) is None
    assert world.events == []


@pytest.mark.parametrize("method", [0x000, 0x002, Method.SEND, Method.DATA, 0x00C, 0xFFF])
def test_a_request_of_an_unknown_method_is_dropped(method: int) -> None:
    world = World()
    client = world.client()
    data = encode_message(method, MessageClass.REQUEST, bytes(12), client.credentials())
    world.events.clear()
    assert receive(client, data) is None
    assert dropped(world) == [Dropped.UNKNOWN_METHOD]


def test_a_flood_is_answered_up_to_its_budget() -> None:
    world = World(answers_per_second=3)
    answers = 0
    for port in range(10):
        client = world.client("203.0.113.77", 1000 + port)
        answers += len(client.send(client.plain(Method.BINDING)))
        answers += len(client.send(client.plain(Method.ALLOCATE, (TRANSPORT,))))
    assert answers == 3
    assert dropped(world) == [Dropped.OVER_BUDGET] * 17
    assert len(world.client("198.51.100.1").send(world.client().plain(Method.BINDING))) == 1


def test_so_are_requests_with_a_nonce_that_is_not_valid() -> None:
    world = World(answers_per_second=2)
    client = world.client()
    client.challenge()
    client.nonce = "forged"
    assert code_of(client.refresh()) == 438
    assert client.send(client.signed(Method.REFRESH)) == []
    assert dropped(world) == [Dropped.OVER_BUDGET]


def test_streams_and_valid_nonces_are_not_counted() -> None:
    world = World(answers_per_second=1)
    client = world.client()
    client.allocated()
    for _ in range(5):
        assert code_of(client.refresh()) is None
    stream = world.stream_client()
    for _ in range(5):
        assert len(stream.send(stream.plain(Method.BINDING))) == 1
        assert code_of(stream.challenge()) == 401
    assert dropped(world) == []


# Answers after authentication.


@pytest.mark.parametrize("sha256", [True, False])
@pytest.mark.parametrize("method", REQUESTS)
def test_every_answer_to_an_authenticated_request_is_signed_and_names_the_software(
    method: Method, sha256: bool
) -> None:
    client = World().client()
    client.sha256 = sha256
    for attributes in ((), (TRANSPORT,), ((a.raw(0x7777), b""),), ((a.raw(0x0D), b"x"),)):
        answer = client.request(method, attributes)
        algorithm = IntegrityAlgorithm.SHA256 if sha256 else IntegrityAlgorithm.SHA1
        assert answer.verify_integrity(client.key(), algorithm)
        assert answer.get(a.SOFTWARE) == "turnd"


def test_a_binding_with_an_unknown_required_attribute_is_420() -> None:
    client = World().client()
    answer = client.ask(client.plain(Method.BINDING, ((a.raw(0x7777), b""),)))
    assert code_of(answer) == 420
    assert answer.get(a.UNKNOWN_ATTRIBUTES) == (0x7777,)
    assert not answer.has(a.SOFTWARE)


def test_credentials_that_are_no_text_are_400() -> None:
    client = World().client()
    name = (a.raw(a.USERNAME.number), b"\xff")
    answer = client.request(
        Method.REFRESH, credentials=[name, *client.credentials(without=[a.USERNAME])]
    )
    assert code_of(answer) == 400
    assert not answer.has(a.SOFTWARE)


def test_an_attribute_that_a_handler_cannot_read_is_400_and_signed() -> None:
    client = World().client()
    client.allocated()
    answer = client.request(Method.REFRESH, ((a.raw(a.LIFETIME.number), b"x"),))
    assert code_of(answer) == 400
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)


def test_a_refusal_is_told_with_its_reason() -> None:
    world = World()
    client = world.client()
    client.refresh()
    (refused,) = world.reported(RequestRefused)
    assert (refused.user, refused.method, refused.code) == ("alice", Method.REFRESH, 437)
    assert refused.why == "no allocation on this five-tuple"


def test_the_first_of_duplicates_counts() -> None:
    world = World()
    client = world.client()
    answer = client.allocate((a.LIFETIME, 700), (a.LIFETIME, 3000), (a.REQUESTED_TRANSPORT, 6))
    assert answer.get(a.LIFETIME) == 700


def test_what_follows_the_integrity_has_no_effect() -> None:
    world = World()
    client = world.client()
    client.allocated()
    signed = client.signed(Method.CREATE_PERMISSION, ((a.XOR_PEER_ADDRESS, PEER),))
    more = ((a.XOR_PEER_ADDRESS, OTHER_PEER), (a.raw(0x7777), b""))
    tail = encode_message(0, MessageClass.REQUEST, signed[8:20], more)[20:]
    data = signed[:2] + (len(signed) - 20 + len(tail)).to_bytes(2) + signed[4:] + tail
    assert code_of(client.ask(data)) is None
    (allocation,) = world.state.table
    assert list(allocation.relays[0].permissions) == [PEER.host]


def test_streams_tell_when_they_have_authenticated() -> None:
    world = World()
    stream, client = world.stream_client(), world.client()
    stream.challenge()
    client.allocated()
    assert world.reported(Authenticated) == []
    stream.allocated()
    assert world.reported(Authenticated) == [Authenticated(stream.leg)]


# Retransmissions.


@pytest.mark.parametrize("sha256", [True, False])
def test_a_retransmitted_allocate_is_answered_byte_by_byte_alike(sha256: bool) -> None:
    world = World()
    client = world.client()
    client.sha256 = sha256
    data = client.signed(
        Method.ALLOCATE, (TRANSPORT, (a.EVEN_PORT, True), (a.LIFETIME, 900)), fingerprint=True
    )
    first = client.send(data)
    token = decode_untrusted(first[0]).get(a.RESERVATION_TOKEN)
    assert token is not None
    for _ in range(3):
        world.pass_time(1)
        assert client.send(data) == first
    assert len(world.state.table) == len(world.state.table.reservations) == 1


def test_another_users_copy_of_the_transaction_is_437_and_gets_no_token() -> None:
    world = World()
    client, bob = world.client(), world.client(user="bob")
    transaction_id = bytes(range(12))
    attributes = (TRANSPORT, (a.EVEN_PORT, True))
    client.request(Method.ALLOCATE, attributes, transaction_id=transaction_id)
    answer = bob.request(Method.ALLOCATE, attributes, transaction_id=transaction_id)
    assert code_of(answer) == 437
    assert not answer.has(a.RESERVATION_TOKEN)
    assert not answer.has(a.XOR_RELAYED_ADDRESS)


# Look-ups that wait: everything is checked again.


def waiting_world(**options: Any) -> tuple[World, Client, bytes]:
    world = World(store=StoreOfTests(), **options)
    client = world.client(user="dave")
    client.password = "davit"
    data = client.signed(Method.ALLOCATE, (TRANSPORT,))
    assert client.send(data) == []
    return world, client, data


def resumed(world: World) -> Message:
    answer = world.resume(FOUND)
    assert answer is not None
    return decode_untrusted(answer)


def test_an_allocation_made_meanwhile_is_437() -> None:
    world, _, _ = waiting_world()
    world.client(user="alice").allocated()
    assert code_of(resumed(world)) == 437


def test_in_a_crowd_who_repeats_a_request_is_heard_later_and_a_stream_told_at_once() -> None:
    crowded = Unavailable("too many", crowded=True)
    world, client, data = waiting_world()
    assert world.resume(crowded) is None
    assert [each.reason for each in world.reported(MessageDropped)] == [Dropped.WAITING_FULL]
    assert client.send(data) == []
    assert code_of(resumed(world)) is None
    by_tcp = world.stream_client(user="dave")
    by_tcp.password = "davit"
    by_tcp.send(by_tcp.signed(Method.ALLOCATE, (TRANSPORT,)))
    answer = world.resume(crowded)
    assert answer is not None
    assert code_of(decode_untrusted(answer)) == 500


def test_draining_that_began_meanwhile_is_508() -> None:
    world, client, _ = waiting_world()
    world.state.draining = True
    answer = resumed(world)
    assert code_of(answer) == 508
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)


def test_a_quota_used_up_meanwhile_is_486() -> None:
    world, _, _ = waiting_world(total=1)
    world.client(port=9, user="alice").allocated()
    assert code_of(resumed(world)) == 486


def test_a_nonce_that_ended_meanwhile_is_438() -> None:
    world, _, _ = waiting_world(nonce_lifetime=60)
    world.pass_time(60)
    assert code_of(resumed(world)) == 438


def test_an_allocation_that_ended_meanwhile_is_437_for_its_requests() -> None:
    world = World(store=StoreOfTests())
    world.client(user="alice").allocated()
    client = world.client(user="dave")
    client.password = "davit"
    client.send(client.signed(Method.REFRESH))
    world.pass_time(599)
    world.now += 1  # nobody has tidied up yet
    assert code_of(resumed(world)) == 437


def test_a_stream_closed_meanwhile_gets_nothing_and_leaves_nothing() -> None:
    world = World(store=StoreOfTests())
    client = world.stream_client(user="dave")
    client.password = "davit"
    client.send(client.signed(Method.ALLOCATE, (TRANSPORT,)))
    assert len(world.server.waiting) == 1
    world.engine.stream_ended(client.leg)
    assert len(world.server.waiting) == 0
    assert world.resume(FOUND) is None
    assert len(world.state.table) == 0


def test_a_request_that_waited_is_drawn_from_the_budget_once() -> None:
    world = World(store=StoreOfTests(), answers_per_second=2)
    client = world.client(user="dave")
    client.password = "davit"
    client.challenge()
    client.nonce = "forged"
    client.send(client.signed(Method.REFRESH))
    assert code_of(resumed(world)) == 438
    assert client.send(client.plain(Method.BINDING)) == []
    assert dropped(world) == [Dropped.OVER_BUDGET]


def test_a_retransmission_joins_the_copy_that_waits() -> None:
    world, client, data = waiting_world()
    assert client.send(data) == []
    assert len(world.pending) == len(world.server.waiting) == 1
    assert code_of(resumed(world)) is None
    assert len(world.server.waiting) == 0


def test_what_waits_is_bounded_per_client_address_and_in_total() -> None:
    world = World(store=StoreOfTests(), waiting=WaitingRequests(per_client=2, total=3))
    for host in ("203.0.113.5", "203.0.113.6"):
        for port in (1, 2, 3):
            client = world.client(host, port, "dave")
            client.password = "davit"
            assert client.send(client.signed(Method.REFRESH)) == []
    assert [need.leg.client.host[-1] for need in world.pending] == ["5", "5", "6"]
    assert dropped(world) == [Dropped.WAITING_FULL] * 3


def test_a_retransmission_after_the_answer_is_answered_alike() -> None:
    world, client, data = waiting_world()
    first = world.resume(FOUND)
    assert client.send(data) == [first]  # the allocation's own key: no second look-up


# Endings.


def test_a_closed_stream_ends_its_allocation() -> None:
    world = World()
    client = world.stream_client()
    client.allocated()
    world.engine.stream_ended(client.leg)
    assert len(world.state.table) == 0
    (ended,) = world.reported(AllocationEnded)
    assert ended.reason is EndReason.DISCONNECTED
    other = world.stream_client()
    world.engine.stream_ended(other.leg)
    assert len(world.reported(AllocationEnded)) == 1


def test_the_end_of_the_process_ends_all() -> None:
    world = World()
    for port in (1, 2, 3):
        world.client(port=port).allocated()
    world.server.end_all(world.now)
    assert len(world.state.table) == world.engine.counters().relays == 0
    reasons = [each.reason for each in world.reported(AllocationEnded)]
    assert reasons == [EndReason.SHUTDOWN] * 3


def test_what_has_ended_is_gone_for_the_very_next_message() -> None:
    world = World()
    client = world.client()
    client.allocated()
    world.now += 600  # nobody has tidied up yet
    assert code_of(client.refresh()) == 437
    assert code_of(client.allocate()) is None


def test_a_changed_policy_takes_back_what_it_refuses() -> None:
    world = World()
    client = world.client()
    relayed = client.allocated()
    client.bind(0x4000, PEER)
    world.realm.policy = PeerPolicy.build([PEER.host])
    world.server.policy_changed(world.now)
    client.channel_data(0x4000, b"out")
    client.send_indication(PEER, b"out")
    assert world.engine.sent_to_peer == []
    assert from_peer(world, relayed, PEER, b"in") == []
    assert code_of(client.bind(0x4000, PEER)) == 403


# Promise 1.


REALMS = ["r", "example.org", "r" * 15, "r" * 16, "münchen.example"]
REQUEST_ATTRIBUTES: list[Attributes] = [
    (),
    ((a.DONT_FRAGMENT, True),),
    (TRANSPORT,),
    ((a.LIFETIME, 600),),
    (TRANSPORT, (a.SOFTWARE, "a client")),
    ((a.raw(0x7777), b"1234"),),
]


@pytest.mark.parametrize("host", ["203.0.113.5", "2001:db8::5"])
@pytest.mark.parametrize("realm", REALMS)
def test_answers_to_strangers_are_at_most_twice_the_request_at_the_ip_level(
    host: str, realm: str
) -> None:
    headers = 48 if ":" in host else 28
    client = World(realm=realm, store=StoreOfTests()).client(host)
    for method in (Method.BINDING, *REQUESTS):
        for attributes in REQUEST_ATTRIBUTES:
            for fingerprint in (False, True):
                data = encode_message(
                    method,
                    MessageClass.REQUEST,
                    bytes(12),
                    attributes,
                    fingerprint=fingerprint,
                )
                (answer,) = client.send(data)
                assert headers + len(answer) <= 2 * (headers + len(data))


def test_so_are_binding_answers_without_any_attribute_and_refused_credentials() -> None:
    for host, headers in (("203.0.113.5", 28), ("2001:db8::5", 48)):
        client = World().client(host, user="nobody")
        client.nonce = "forged"
        client.password = "x"
        for data in (
            client.plain(Method.BINDING),
            client.signed(Method.ALLOCATE, (TRANSPORT,)),
            client.signed(Method.ALLOCATE, (TRANSPORT,), credentials=()),
        ):
            (answer,) = client.send(data)
            assert headers + len(answer) <= 2 * (headers + len(data))


@pytest.mark.parametrize(("host", "headers"), [("203.0.113.5", 28), ("2001:db8::5", 48)])
@pytest.mark.parametrize("sha256", [False, True])
def test_so_are_answers_to_users_who_forge_their_address(
    host: str, headers: int, sha256: bool
) -> None:
    """A password shows nothing of the address as long as the nonce does not."""
    for server_name in ("turn.example.org", "n" * 127):
        third_party = replace(THIRD_PARTY, server_name=server_name)
        world = World(
            users={"a": "b"},
            third_party=third_party,
            settings=TurnSettings(software="s" * 127),
        )
        client = world.client(host, user="a")
        client.password, client.sha256, client.nonce = "b", sha256, ""
        for realm, code in ((REALM, 438), ("", 401)):
            for method in (*REQUESTS, Method.BINDING):
                data = client.signed(method, credentials=client.credentials((a.REALM, realm)))
                (answer,) = client.send(data)
                message = decode_untrusted(answer)
                assert code_of(message) == code
                assert message.verify_integrity(*client.integrity())
                assert headers + len(answer) <= 2 * (headers + len(data))


def test_nothing_is_kept_of_who_was_challenged() -> None:
    world = World(store=StoreOfTests())
    for number in range(3000):
        client = world.client(f"198.{18 + number // 250}.7.{number % 250}", 1024 + number)
        assert len(client.send(client.plain(Method.ALLOCATE, (TRANSPORT,)))) == 1
        assert len(client.send(client.plain(Method.BINDING))) == 1
    server, state = world.server, world.state
    assert len(state.table) == len(state.table.reservations) == len(server.waiting) == 0
    assert state.table.quotas.in_use == world.realm.quotas.in_use == 0
    assert not state.table.quotas._by_client
    assert not state.table.quotas._by_user
    assert server.waiting._by_client == {}
    assert len(server.nonces._keys) == 1
    assert world.engine.counters().relays == 0
    assert world.pending == []


# Any bytes.


_WORLD = World(secrets=[SECRET], store=StoreOfTests(), answers_per_second=0)
_FUZZ_LEG: Leg = _WORLD.client("203.0.113.99").leg
_NUMBERS = st.sampled_from([*a.ATTRIBUTES, 0x7777, 0x8888])
_VALUES = st.one_of(st.binary(max_size=40), st.sampled_from([b"\0" * 4, b"\x11\0\0\0", b"\0" * 8]))
_PEERS = st.tuples(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), st.integers(0, 65535)
)


@settings(deadline=None)  # a busy machine is no fault of the server
@given(st.binary(max_size=400))
def test_any_bytes_are_handled(data_untrusted: bytes) -> None:
    answer = _WORLD.server.receive(_FUZZ_LEG, data_untrusted, _WORLD.now)
    assert answer is None or isinstance(answer, bytes)


@settings(deadline=None)  # a busy machine is no fault of the server
@given(
    st.integers(0, 0xFFF),
    st.sampled_from(MessageClass),
    st.lists(st.tuples(_NUMBERS, _VALUES), max_size=8),
)
def test_any_message_is_handled(
    method: int, message_class: MessageClass, values: list[tuple[int, bytes]]
) -> None:
    attributes = [(a.raw(number), value) for number, value in values]
    data = encode_message(method, message_class, bytes(12), attributes)
    _WORLD.server.receive(_FUZZ_LEG, data, _WORLD.now)


@settings(deadline=None)  # a busy machine is no fault of the server
@given(
    st.sampled_from(REQUESTS),
    st.lists(st.tuples(_NUMBERS, _VALUES), max_size=6),
    st.lists(_PEERS, max_size=3),
    st.integers(0x3FFE, 0x5001),
    st.booleans(),
)
def test_any_request_of_a_user_is_answered_and_signed(
    method: Method,
    values: list[tuple[int, bytes]],
    peers: list[tuple[str, int]],
    number: int,
    fresh: bool,
) -> None:
    world = World()
    client = world.client()
    if not fresh:
        client.allocated((a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6))
    own = {each.number for each, _ in client.credentials()} | {
        each.number
        for each in (
            a.MESSAGE_INTEGRITY,
            a.MESSAGE_INTEGRITY_SHA256,
            a.FINGERPRINT,
            a.USERHASH,
            a.PASSWORD_ALGORITHM,
            a.PASSWORD_ALGORITHMS,
        )
    }
    attributes: list[tuple[a.Attribute[Any], Any]] = [
        (a.raw(kind), value) for kind, value in values if kind not in own
    ]
    attributes += [(a.XOR_PEER_ADDRESS, TransportAddress(*peer)) for peer in peers]
    data = client.signed(method, (*attributes, (a.CHANNEL_NUMBER, number), TRANSPORT))
    answer = receive(client, data)
    assert isinstance(answer, bytes)
    assert decode_untrusted(answer).verify_integrity(client.key(), IntegrityAlgorithm.SHA1)


def test_the_challenge_by_a_listener_is_its_realms() -> None:
    world, other = World(), World(realm="other.example")
    world.server.realms.by_listener = {world.streams: other.realm}
    assert world.server.challenge_by(world.streams).realm == b"other.example"
    assert world.server.challenge_by(world.listener).realm == REALM.encode()


def test_a_realm_may_be_asked_for_by_tls() -> None:
    world, other = World(), World(realm="other.example")
    world.state.realms = {REALM: world.realm, "other.example": other.realm}
    world.server.realms.by_server_name = {"turn.other": other.realm}
    client = world.stream_client()
    world.server.leg_opened(client.leg, "turn.other")
    assert client.challenge().get(a.REALM) == "other.example"
    # An allocation of another realm than the listener's is no reason to serve that one.
    world.server.realms.by_listener = {client.leg.listener: other.realm}
    ours = world.client()
    ours.allocated()
    ticket = (a.MOBILITY_TICKET, world.state.tickets.issue(next(iter(world.state.table))))
    answer = client.ask(client.plain(Method.REFRESH, (ticket,)))
    assert answer.get(a.REALM) == "other.example"


def test_mutations_of_a_valid_request_are_survived() -> None:
    world = World()
    client = world.client()
    data = client.signed(Method.ALLOCATE, (TRANSPORT, (a.EVEN_PORT, True)), fingerprint=False)
    for at in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            mutated = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            receive(client, mutated)
            receive(client, data[:at])
    assert len(world.state.table) == 0
    assert code_of(client.ask(data)) is None


class TestMobility:
    def test_media_that_waits_is_let_in_unless_all_has_ended_meanwhile(self) -> None:
        world = World(settings=TurnSettings(mobility=True))
        client, elsewhere = world.client(), world.client(port=4001)
        ticket = client.allocate((a.MOBILITY_TICKET, b"")).get(a.MOBILITY_TICKET)
        elsewhere.request(Method.REFRESH, ((a.MOBILITY_TICKET, ticket),))
        world.server.media_waiting(elsewhere.leg, world.now)
        (allocation,) = world.state.table
        assert allocation.leg == elsewhere.leg
        world.server.media_waiting(elsewhere.leg, world.now + 600)
        assert len(world.state.table) == 0

    def test_a_connection_leaves_an_allocation_with_a_ticket_behind(self) -> None:
        world = World(settings=TurnSettings(mobility=True))
        client = world.stream_client()
        client.allocate((a.MOBILITY_TICKET, b""))
        world.engine.stream_ended(client.leg)
        assert len(world.state.table) == 1


class TestBindingElsewhere:
    """What `behavior_discovery` and `classic_binding` decide is carried out."""

    @pytest.mark.parametrize("signed", [True, False])
    def test_the_answer_takes_the_way_that_the_request_asks_for(self, signed: bool) -> None:
        client = DiscoveryWorld().client()
        make = client.signed if signed else client.plain
        change = (a.CHANGE_REQUEST, a.ChangeRequest(True, True))
        answer = receive(client, make(Method.BINDING, [change, (a.RESPONSE_PORT, 5000)]))
        assert isinstance(answer, Elsewhere)
        assert (answer.leg.client, answer.from_) == (("203.0.113.5", 5000), ("192.0.2.2", 3479))

    def test_a_malformed_or_refused_one_is_answered_straight_back(self) -> None:
        client = DiscoveryWorld().client()
        malformed = client.ask(client.plain(Method.BINDING, [(a.raw(0x0003), b"xyz")]))
        refused = client.ask(client.plain(Method.BINDING, [(a.RESPONSE_PORT, 53)]))
        assert (code_of(malformed), code_of(refused)) == (400, 403)

    def test_a_request_of_rfc_3489_is_answered_where_the_admin_wants_it(self) -> None:
        world = World(answers_per_second=1)
        client, stream = world.client(), world.stream_client()
        classic = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(range(16)), ())
        other = encode_message(Method.ALLOCATE, MessageClass.REQUEST, bytes(range(16)), ())
        malformed = classic[:3] + b"\x08" + classic[4:] + bytes.fromhex("0003000178000000")
        assert receive(client, classic) is None
        world.state.settings = TurnSettings(rfc3489=True)
        answer = receive(client, classic)
        assert isinstance(answer, bytes)
        assert decode_untrusted(answer, classic=True).get(a.MAPPED_ADDRESS) == client.leg.client
        for each, data in ((client, classic), (client, other), (stream, classic)):
            assert receive(each, data) is None
        world.pass_time(1)
        assert receive(client, malformed) is None
        over, *rest = [Dropped.OVER_BUDGET, *[Dropped.MALFORMED] * 3]
        assert dropped(world) == [Dropped.MALFORMED, over, *rest]


def test_quotas_count_for_each_token_by_itself() -> None:
    world = token_world(quotas=Quotas(per_user=1))
    one, same = token_client(world, port=1), token_client(world, port=2)
    other = token_client(world, port=3).renewed()
    assert code_of(one.allocate()) is None
    assert code_of(same.allocate()) == 486
    assert code_of(other.allocate()) is None
    assert code_of(one.request(Method.REFRESH, ((a.LIFETIME, 0),))) is None
    assert code_of(same.allocate()) is None


def test_whoever_has_a_token_may_claim_a_reservation_and_no_user() -> None:
    world = token_world()
    one, other = token_client(world, port=1), token_client(world, port=3).renewed(user="south")
    reserved = one.allocate((a.EVEN_PORT, True)).get(a.RESERVATION_TOKEN)
    assert reserved is not None
    user = world.client(port=2)
    assert code_of(user.allocate((a.RESERVATION_TOKEN, reserved))) == 508
    assert code_of(other.allocate((a.RESERVATION_TOKEN, reserved))) is None


def test_what_peers_do_is_handled_after_what_has_ended_meanwhile() -> None:
    world = tcp_world()
    client, relayed = tcp_client(world)
    client.permit(PEER)
    assert world.peer_sockets.arrives(relayed, PEER, world.now) is not None
    assert ask_to_connect(client, OTHER_PEER) == []
    ((number, (relay, _)),) = world.peer_sockets.connecting.items()
    world.now += 600
    assert world.server.peer_arrived(relay, OTHER_PEER, world.now) is None
    world.server.peer_connected(number, None, world.now)
    assert len(world.state.table) == len(world.state.connections) == 0


def test_a_connect_is_answered_later_and_not_twice() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    assert ask_to_connect(client) == []
    world.peer_sockets.stands(world.now)
    sent = [each for each in world.engine.sent_to_client if each.leg == client.leg]
    assert len(sent) == 3, "the challenge, and an answer each"
