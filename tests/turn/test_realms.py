from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.turn.harness import OTHER_PEER, PEER, REALM, USERS, Client, StoreOfTests, World, code_of
from turnd.allocations.policy import PeerPolicy
from turnd.allocations.quotas import Quotas
from turnd.auth.chain import CredentialChain
from turnd.auth.credentials import Found, KeyQuery, NeedLookup, Unknown, UsernameQuery
from turnd.auth.rest import RestSecrets
from turnd.auth.static import StaticUsers
from turnd.engine.base import ListenerSettings, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress
from turnd.stun.keys import PasswordAlgorithm, long_term_key
from turnd.stun.message import Integrity, IntegrityAlgorithm, Message, Method
from turnd.turn.realm import Realm
from turnd.turn.realms import canonical_origin
from turnd.turn.settings import TurnSettings

OTHER = "other.example"
PASSWORD = "looking-glass"
"""Of alice in the other realm; hers in the server's own is another."""
NAME = "turn.other.example"
ORIGIN = (a.ORIGIN, "https://other.example")


def other_realm(**users: str) -> Realm:
    rest = RestSecrets(OTHER, (), lambda: 0.0)
    chain = CredentialChain(OTHER, StaticUsers(OTHER, users or {"alice": PASSWORD}), rest)
    return Realm(OTHER, chain, PeerPolicy.build([PEER.host]), Quotas(per_user=1))


def two_realms(**options: Any) -> World:
    world = World(**options)
    other = other_realm()
    world.state.realms = {REALM: world.realm, OTHER: other}
    world.server.realms.by_server_name = {NAME: other, "*.wild.example": other}
    world.server.realms.by_origin = {canonical_origin("https://other.example"): other}
    return world


@dataclass
class RealmClient(Client):
    """Signs for a realm; `origin` goes with each of its requests."""

    realm: str = REALM
    origin: tuple[tuple[a.Attribute[str], str], ...] = ()

    def integrity(self) -> Integrity:
        key = long_term_key(self.user, self.realm, self.password, PasswordAlgorithm.MD5)
        return Integrity(key, IntegrityAlgorithm.SHA1)

    def challenge(self) -> Message:
        request = self.plain(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17), *self.origin))
        answer = self.ask(request)
        self.nonce = answer.get(a.NONCE)
        return answer

    def credentials(self, *instead: Any, without: Any = ()) -> Any:
        if self.nonce is None:
            self.challenge()
        named = super().credentials((a.REALM, self.realm), *instead, without=without)
        return [*self.origin, *named]


def client_of(world: World, realm: str, *origin: Any, port: int = 4000) -> RealmClient:
    password = PASSWORD if realm == OTHER else USERS["alice"]
    leg = world.client(port=port).leg
    return RealmClient(world, leg, "alice", password, realm=realm, origin=origin)


def by_tls(world: World, server_name: str | None, realm: str) -> RealmClient:
    """A client by TLS who asked for a name."""
    client = ClientAddress(TransportAddress("203.0.113.6", 4000))
    server = ServerAddress(TransportAddress("192.0.2.1", 5349))
    leg = world.engine.adopt(99, world.streams, Transport.TLS, client, server)
    world.engine.handshake_done(leg, server_name)
    world.server.leg_opened(leg, server_name)
    password = PASSWORD if realm == OTHER else USERS["alice"]
    return RealmClient(world, leg, "alice", password, realm=realm)


def test_a_listener_may_belong_to_a_realm() -> None:
    world = two_realms()
    other = world.state.realms[OTHER]
    listener = world.engine.listen(TransportAddress("192.0.2.1", 3479), ListenerSettings())
    world.server.realms.by_listener = {listener: other}
    client = client_of(world, OTHER)
    client.leg = client.leg._replace(listener=listener)
    assert client.challenge().get(a.REALM) == OTHER
    assert code_of(client.allocate()) is None
    wrong = client_of(world, REALM, port=4001)
    wrong.leg = wrong.leg._replace(listener=listener)
    assert code_of(wrong.allocate()) == 401
    # Neither a name nor an origin leads out of it.
    world.server.realms.by_listener = {listener: world.realm, world.streams: world.realm}
    client = client_of(world, REALM, ORIGIN, port=4002)
    client.leg = client.leg._replace(listener=listener)
    assert client.challenge().get(a.REALM) == REALM
    assert by_tls(world, NAME, REALM).challenge().get(a.REALM) == REALM


@pytest.mark.parametrize(
    ("name", "realm"),
    [
        (NAME, OTHER),
        ("a.wild.example", OTHER),
        ("a.b.wild.example", REALM),
        ("wild.example", REALM),
        ("nobody.example", REALM),
        (None, REALM),
    ],
)
def test_a_client_by_tls_may_ask_for_a_realm_by_name(name: str | None, realm: str) -> None:
    world = two_realms()
    client = by_tls(world, name, realm)
    assert client.challenge().get(a.REALM) == realm
    assert code_of(client.allocate()) is None
    (allocation,) = world.state.table
    assert allocation.realm == realm
    world.engine.stream_ended(client.leg)
    assert not list(world.state.table)


def test_a_name_itself_goes_before_a_pattern_and_ends_with_its_connection() -> None:
    world = two_realms()
    world.server.realms.by_server_name = {
        "*.other.example": world.realm,
        NAME: world.state.realms[OTHER],
    }
    client = by_tls(world, NAME, OTHER)
    assert client.challenge().get(a.REALM) == OTHER
    world.engine.stream_ended(client.leg)
    message = client_of(world, REALM).plain(Method.ALLOCATE)
    answer = world.server.receive(client.leg, message, world.now)
    assert isinstance(answer, bytes)
    assert OTHER.encode() not in answer


@pytest.mark.parametrize(
    ("origin", "realm"),
    [
        ([ORIGIN], OTHER),
        ([(a.ORIGIN, "HTTPS://Other.Example:443/")], OTHER),
        ([(a.ORIGIN, "https://top.example"), ORIGIN], OTHER),
        ([(a.ORIGIN, "http://other.example")], REALM),
        ([(a.ORIGIN, "https://other.example:8443")], REALM),
        ([(a.ORIGIN, "null")], REALM),
        ([(a.raw(a.ORIGIN.number), b"\xff")], REALM),
        ([], REALM),
    ],
)
def test_a_request_may_name_the_page_that_it_comes_from(origin: Any, realm: str) -> None:
    world = two_realms()
    client = client_of(world, realm, *origin)
    assert client.challenge().get(a.REALM) == realm
    assert code_of(client.allocate()) is None
    (allocation,) = world.state.table
    assert allocation.realm == realm


def test_a_name_goes_before_an_origin() -> None:
    world = two_realms()
    third = other_realm(alice=PASSWORD)
    third.name = "third.example"
    world.server.realms.by_origin = {"https://other.example": third}
    client = by_tls(world, NAME, OTHER)
    client.origin = (ORIGIN,)
    assert client.challenge().get(a.REALM) == OTHER


def test_an_allocation_keeps_its_realm_whatever_its_requests_name() -> None:
    world = two_realms()
    client = client_of(world, OTHER, ORIGIN)
    client.allocated()
    client.origin = ()
    assert client.challenge().get(a.REALM) == OTHER
    assert code_of(client.request(Method.REFRESH)) is None
    own = client_of(world, REALM, port=4001)
    own.allocated()
    own.origin = (ORIGIN,)
    assert code_of(own.request(Method.REFRESH)) is None


def test_what_the_integrity_does_not_cover_chooses_no_realm() -> None:
    world = two_realms()
    client = client_of(world, REALM)
    message = client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),))
    value = b"https://other.example\0\0\0"
    late = a.ORIGIN.number.to_bytes(2) + (21).to_bytes(2) + value
    size = int.from_bytes(message[2:4]) + len(late)
    assert code_of(client.ask(message[:2] + size.to_bytes(2) + message[4:] + late)) is None
    (allocation,) = world.state.table
    assert allocation.realm == REALM


def test_the_same_name_has_its_own_password_quota_and_peers_in_each_realm() -> None:
    world = two_realms()
    theirs, ours = client_of(world, OTHER, ORIGIN), client_of(world, REALM, port=4001)
    theirs.allocated()
    ours.allocated()
    assert code_of(theirs.permit(PEER)) == 403
    assert code_of(theirs.permit(OTHER_PEER)) is None
    assert code_of(ours.permit(PEER)) is None
    assert code_of(client_of(world, OTHER, ORIGIN, port=4002).allocate()) == 486
    assert code_of(client_of(world, REALM, port=4003).allocate()) is None
    mixed = client_of(world, REALM, ORIGIN, port=4004)
    assert code_of(mixed.allocate()) == 401  # her password of the other realm is wanted


def test_a_ticket_leads_into_its_realm_but_not_where_a_listener_belongs_to_another() -> None:
    world = two_realms(settings=TurnSettings(mobility=True))
    client = client_of(world, OTHER, ORIGIN)
    ticket = client.allocate((a.MOBILITY_TICKET, b"")).get(a.MOBILITY_TICKET)
    elsewhere = client_of(world, OTHER, port=4001)
    elsewhere.nonce = elsewhere.challenge().get(a.NONCE)
    listener = world.engine.listen(TransportAddress("192.0.2.1", 3479), ListenerSettings())
    world.server.realms.by_listener = {listener: world.realm}
    outside = client_of(world, REALM, port=4002)
    outside.leg = outside.leg._replace(listener=listener)
    claim = ((a.MOBILITY_TICKET, ticket),)
    assert code_of(outside.request(Method.REFRESH, claim)) == 441
    assert code_of(elsewhere.request(Method.REFRESH, claim)) is None


def test_what_one_realms_store_knows_is_no_answer_in_another() -> None:
    world = two_realms()
    store = StoreOfTests()
    rest = RestSecrets(OTHER, (), lambda: 0.0)
    other = world.state.realms[OTHER]
    other.credentials = CredentialChain(OTHER, StaticUsers(OTHER, {}), rest, store)
    client = client_of(world, OTHER, ORIGIN)
    assert client.send(client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),))) == []
    (need,) = world.pending
    assert (need.realm, need.query) == (OTHER, UsernameQuery("alice"))
    # Meanwhile the five-tuple got an allocation of the server's own realm.
    own = client_of(world, REALM)
    own.allocated()
    found = StaticUsers(OTHER, {"alice": PASSWORD}).find(UsernameQuery("alice"))
    assert found is not None
    answer = world.resume(Found((found,)))
    assert answer is not None
    (allocation,) = world.state.table
    assert allocation.realm == REALM
    assert not isinstance(other.credentials.lookup(KeyQuery("x"), 0.0), NeedLookup)
    assert Unknown() == other.credentials.lookup(KeyQuery("x"), 0.0)


def test_an_engine_leaves_requests_with_an_origin_where_it_may_matter() -> None:
    world = two_realms()
    assert world.server.challenge_by(world.listener).unless_named
    world.server.realms.by_listener = {world.listener: world.state.realms[OTHER]}
    assert not world.server.challenge_by(world.listener).unless_named
    assert world.server.challenge_by(world.listener).realm == OTHER.encode()
    assert not World().server.challenge_by(world.listener).unless_named


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("https://b.example", "https://b.example"),
        ("HTTPS://B.Example:443/", "https://b.example"),
        ("http://b.example:80", "http://b.example"),
        ("http://b.example:443", "http://b.example:443"),
        ("https://b.example:8443", "https://b.example:8443"),
        ("app://b.example:80", "app://b.example:80"),
        ("", "://"),
    ],
)
def test_origins_are_compared_by_what_they_mean(written: str, compared: str) -> None:
    assert canonical_origin(written) == compared
