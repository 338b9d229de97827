"""A TURN server on the fake engine, and a client that speaks to it in messages."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.turn.fake_peer_sockets import FakePeerSockets
from turnd.allocations.connections import Connections
from turnd.allocations.policy import PeerPolicy
from turnd.allocations.quotas import Quotas
from turnd.allocations.relay_ports import RelayPorts
from turnd.allocations.reservations import Reservations
from turnd.allocations.table import AllocationTable
from turnd.allocations.tickets import Tickets
from turnd.auth.chain import CredentialChain
from turnd.auth.nonce import Nonces, mac_length_for
from turnd.auth.rest import RestSecrets, rest_password
from turnd.auth.static import StaticUsers
from turnd.engine.base import (
    ClientMessage,
    Leg,
    LegClosed,
    ListenerId,
    ListenerSettings,
    MediaWaiting,
    Transport,
)
from turnd.engine.fake import FakeEngine
from turnd.stun import attributes as a
from turnd.stun.addresses import (
    AddressFamily,
    ChannelNumber,
    ClientAddress,
    ServerAddress,
    TransportAddress,
)
from turnd.stun.channel_data import encode_channel_data
from turnd.stun.keys import PasswordAlgorithm, long_term_key, userhash
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    Message,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)
from turnd.turn.answers import Elsewhere, send_answer
from turnd.turn.bandwidth import Bandwidth
from turnd.turn.realm import Realm
from turnd.turn.realms import Realms
from turnd.turn.relay_addresses import RelayAddress, RelayAddresses
from turnd.turn.server import TurnServer
from turnd.turn.settings import TurnSettings
from turnd.turn.state import ServerState
from turnd.turn.waiting import NeedKey, WaitingRequests

if TYPE_CHECKING:
    from turnd.auth.credentials import Outcome, Query
    from turnd.auth.oauth import ThirdParty
    from turnd.turn.events import Event

REALM = "example.org"
USERS = {"alice": "wonderland", "bob": "builder"}
SECRET = "north"
SERVER = TransportAddress("192.0.2.1", 3478)
PEER = TransportAddress("198.51.100.9", 5000)
OTHER_PEER = TransportAddress("198.51.100.10", 6000)
PEER6 = TransportAddress("2600::9", 5000)

Attributes = Sequence[tuple[a.Attribute[Any], Any]]


@dataclass
class StoreOfTests:
    """A credential store whose answers the test decides."""

    known: dict[Query, Outcome] = field(default_factory=dict)
    algorithms: frozenset[PasswordAlgorithm] = frozenset(PasswordAlgorithm)
    username_anonymity: bool = True

    def cached(self, name: Query, now: float) -> Outcome | None:
        del now
        return self.known.get(name)


class World:
    """The server, its clock, and all that it reported."""

    def __init__(
        self,
        *,
        addresses: Mapping[str, str] | None = None,
        users: Mapping[str, str] = USERS,
        secrets: Sequence[str] = (),
        store: StoreOfTests | None = None,
        settings: TurnSettings | None = None,
        ports: tuple[int, int] = (50_000, 50_099),
        deny: Sequence[str] = (),
        quotas: Quotas | None = None,
        total: int = 0,
        answers_per_second: int = 0,
        waiting: WaitingRequests | None = None,
        nonce_lifetime: float = 3600,
        realm: str = REALM,
        third_party: ThirdParty | None = None,
    ) -> None:
        self.now = 1000.0
        self.wall = 1_800_000_000.0
        self.events: list[Event] = []
        self.engine = FakeEngine(lambda: self.now)
        self.engine.hosts = None
        self.peer_sockets = FakePeerSockets()
        self.engine.budget(answers_per_second)
        self.listener = self.engine.listen(SERVER, ListenerSettings())
        self.streams = self.engine.stream_listener(ListenerSettings())
        self.random = itertools.count(1)
        pairs = addresses or {"192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1"}
        self.relays = self._relays(pairs, ports)
        rest = RestSecrets(realm, secrets, lambda: self.wall)
        chain = CredentialChain(realm, StaticUsers(realm, users), rest, store, third_party)
        own = {announced: bound for bound, announced in pairs.items()}
        policy = PeerPolicy.build(deny, ()).with_own([SERVER], own, ["192.0.2.1"])
        self.realm = Realm(realm, chain, policy, quotas or Quotas())
        self.state = self._state(settings or TurnSettings(), total)
        self.server = TurnServer(
            state=self.state,
            nonces=Nonces(nonce_lifetime, self.random_bytes, mac_length_for(realm)),
            waiting=WaitingRequests() if waiting is None else waiting,
            decoy_salt=b"salt",
            realms=Realms(self.realm),
        )
        self.engine.protect([SERVER], {each.announced: each.bound for each in self.relays})
        self.engine.start(self._pump)
        self.peer_sockets.server = self.server
        self._transactions = itertools.count(1)
        self.pending: list[NeedKey] = []

    def _relays(self, pairs: Mapping[str, str], ports: tuple[int, int]) -> RelayAddresses:
        addresses = [
            RelayAddress(bound, announced, RelayPorts(*ports, 60, lambda n: n // 2))
            for bound, announced in pairs.items()
        ]
        return RelayAddresses(self.engine, self.peer_sockets, addresses, lambda n: n - 1)

    def _state(self, settings: TurnSettings, total: int) -> ServerState:
        return ServerState(
            settings=settings,
            table=AllocationTable(Quotas(total=total), Reservations(self.random_bytes)),
            tickets=Tickets(self.random_bytes),
            relays=self.relays,
            connections=Connections(self.random_bytes),
            engine=self.engine,
            peer_sockets=self.peer_sockets,
            bandwidth=Bandwidth(self.engine),
            realms={self.realm.name: self.realm},
            report=self.events.append,
            wall_clock=lambda: self.wall,
        )

    def random_bytes(self, count: int) -> bytes:
        """Never the same twice, which is all that tests need."""
        return next(self.random).to_bytes(count)

    def client(self, host: str = "203.0.113.5", port: int = 4000, user: str = "alice") -> Client:
        """A client on UDP."""
        leg = Leg(
            self.listener,
            Transport.UDP,
            ServerAddress(SERVER),
            ClientAddress(TransportAddress(host, port)),
        )
        return Client(self, leg, user, USERS.get(user, ""))

    def rest_client(
        self, expires_in: float = 3600, user: str = "carol", port: int = 4000
    ) -> Client:
        """A client on UDP with a credential made with `SECRET`."""
        name = f"{int(self.wall + expires_in)}:{user}"
        client = self.client(port=port, user=name)
        client.password = rest_password(SECRET, name)
        return client

    def stream_client(self, host: str = "203.0.113.6", user: str = "alice") -> Client:
        """A client on TCP."""
        leg = self.engine.adopt(
            99,
            self.streams,
            Transport.TCP,
            ClientAddress(TransportAddress(host, 4000)),
            ServerAddress(SERVER),
        )
        return Client(self, leg, user, USERS.get(user, ""))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and let the server and the engine notice."""
        self.now += seconds
        self.wall += seconds
        self.server.expire(self.now)
        self.engine.tick()

    def reported(self, kind: type[Event]) -> list[Any]:
        """All events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def transaction_id(self) -> bytes:
        """One that was never used."""
        return next(self._transactions).to_bytes(12)

    def resume(self, outcome: Outcome) -> bytes | None:
        """Go on with the oldest request that waits for the store."""
        need = self.pending.pop(0)
        answer = self.server.resume(need, outcome, self.now)
        assert not isinstance(answer, Elsewhere)
        if answer is not None:
            send_answer(self.engine, need.leg, answer)
        return answer

    def _pump(self) -> None:
        for event in self.engine.poll():
            if isinstance(event, ClientMessage):
                answer = self.server.receive(event.leg, event.data, self.now)
                if isinstance(answer, NeedKey):
                    self.pending.append(answer)
                elif answer is not None:
                    send_answer(self.engine, event.leg, answer)
            elif isinstance(event, MediaWaiting):
                self.server.media_waiting(event.leg, self.now)
            elif isinstance(event, LegClosed):
                self.server.leg_closed(event.leg, self.now, event.reason)


@dataclass
class Client:
    """Signs requests as RFC 5389 does (MD5, SHA-1) unless `sha256` is set."""

    world: World
    leg: Leg
    user: str
    password: str
    sha256: bool = False
    nonce: str | None = None

    def send(self, data: bytes) -> list[bytes]:
        """Send bytes; what the server sent back at once."""
        sent = self.world.engine.sent_to_client
        before = len(sent)
        if self.leg.transport.is_stream:
            self.world.engine.stream_bytes(self.leg, data)
        else:
            self.world.engine.datagram_from_client(self.leg, data)
        return [each.data for each in sent[before:] if each.leg == self.leg]

    def ask(self, data: bytes) -> Message:
        """Send bytes that get one answer."""
        (answer,) = self.send(data)
        return decode_untrusted(answer)

    def plain(
        self, method: Method, attributes: Attributes = (), transaction_id: bytes | None = None
    ) -> bytes:
        """A request without credentials."""
        return encode_message(
            method,
            MessageClass.REQUEST,
            transaction_id or self.world.transaction_id(),
            attributes,
        )

    def key(self) -> bytes:
        """The long-term key."""
        algorithm = PasswordAlgorithm.SHA256 if self.sha256 else PasswordAlgorithm.MD5
        return long_term_key(self.user, REALM, self.password, algorithm)

    def integrity(self) -> Integrity:
        """What requests are signed with."""
        algorithm = IntegrityAlgorithm.SHA256 if self.sha256 else IntegrityAlgorithm.SHA1
        return Integrity(self.key(), algorithm)

    def challenge(self) -> Message:
        """Get a 401 and keep its nonce."""
        answer = self.ask(self.plain(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),)))
        self.nonce = answer.get(a.NONCE)
        return answer

    def credentials(
        self, *instead: tuple[a.Attribute[Any], Any], without: Sequence[a.Attribute[Any]] = ()
    ) -> list[tuple[a.Attribute[Any], Any]]:
        """The attributes of the credentials; some of them with another value, or left out."""
        if self.nonce is None:
            self.challenge()
        values: dict[a.Attribute[Any], Any] = {
            a.USERNAME: self.user,
            a.REALM: REALM,
            a.NONCE: self.nonce,
        }
        if self.sha256:
            values[a.PASSWORD_ALGORITHMS] = BOTH_ALGORITHMS
            values[a.PASSWORD_ALGORITHM] = SHA256_ENTRY
        values.update(instead)
        return [each for each in values.items() if each[0] not in without]

    def hashed(self) -> list[tuple[a.Attribute[Any], Any]]:
        """The credentials with USERHASH in place of USERNAME."""
        return [(a.USERHASH, userhash(self.user, REALM)), *self.credentials(without=[a.USERNAME])]

    def signed(
        self,
        method: Method,
        attributes: Attributes = (),
        *,
        transaction_id: bytes | None = None,
        fingerprint: bool = False,
        credentials: Attributes | None = None,
    ) -> bytes:
        """A request with credentials."""
        if credentials is None:
            credentials = self.credentials()
        return encode_message(
            method,
            MessageClass.REQUEST,
            transaction_id or self.world.transaction_id(),
            (*attributes, *credentials),
            integrity=self.integrity(),
            fingerprint=fingerprint,
        )

    def request(self, method: Method, attributes: Attributes = (), **options: Any) -> Message:
        """Send a signed request; the answer."""
        return self.ask(self.signed(method, attributes, **options))

    def allocate(self, *attributes: tuple[a.Attribute[Any], Any], **options: Any) -> Message:
        """Allocate by UDP."""
        return self.request(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17), *attributes), **options)

    def allocated(self, *attributes: tuple[a.Attribute[Any], Any]) -> TransportAddress:
        """Allocate, which succeeds; the first relayed transport address."""
        answer = self.allocate(*attributes)
        assert code_of(answer) is None, answer
        relayed = answer.get(a.XOR_RELAYED_ADDRESS)
        assert relayed is not None
        return relayed

    def refresh(self, lifetime: int | None = None, family: AddressFamily | None = None) -> Message:
        """Refresh."""
        attributes: list[tuple[a.Attribute[Any], Any]] = []
        if lifetime is not None:
            attributes.append((a.LIFETIME, lifetime))
        if family is not None:
            attributes.append((a.REQUESTED_ADDRESS_FAMILY, family))
        return self.request(Method.REFRESH, attributes)

    def permit(self, *peers: TransportAddress) -> Message:
        """CreatePermission."""
        return self.request(
            Method.CREATE_PERMISSION, [(a.XOR_PEER_ADDRESS, peer) for peer in peers]
        )

    def bind(self, number: int, peer: TransportAddress) -> Message:
        """ChannelBind."""
        return self.request(
            Method.CHANNEL_BIND, ((a.CHANNEL_NUMBER, number), (a.XOR_PEER_ADDRESS, peer))
        )

    def send_indication(
        self, peer: TransportAddress, data: bytes, *more: tuple[a.Attribute[Any], Any]
    ) -> list[bytes]:
        """Send data without a channel."""
        return self.send(
            encode_message(
                Method.SEND,
                MessageClass.INDICATION,
                self.world.transaction_id(),
                ((a.XOR_PEER_ADDRESS, peer), (a.DATA, data), *more),
            )
        )

    def channel_data(self, number: int, data: bytes) -> list[bytes]:
        """Send data by a channel."""
        padded = self.leg.transport.is_stream
        return self.send(encode_channel_data(ChannelNumber(number), data, padded=padded))


SHA256_ENTRY = a.PasswordAlgorithmEntry(PasswordAlgorithm.SHA256)
MD5_ENTRY = a.PasswordAlgorithmEntry(PasswordAlgorithm.MD5)
BOTH_ALGORITHMS = (SHA256_ENTRY, MD5_ENTRY)


def code_of(answer: Message) -> int | None:
    """The error code of an answer; None for a success."""
    error = answer.get(a.ERROR_CODE)
    return None if error is None else error.code


def relay_at(world: World, address: TransportAddress) -> Any:
    """The engine's handle of a relayed transport address."""
    for allocation in world.state.table:
        for relay in allocation.relays:
            if relay.announced == address:
                return relay.relay_id
    raise AssertionError(f"nothing is relayed at {address}")


def from_peer(
    world: World, relayed: TransportAddress, peer: TransportAddress, data: bytes
) -> list[bytes]:
    """A peer sends to a relayed transport address; what reached clients."""
    before = len(world.engine.sent_to_client)
    world.engine.datagram_from_peer(relay_at(world, relayed), peer, data)
    return [each.data for each in world.engine.sent_to_client[before:]]


def listener_of(world: World) -> ListenerId:
    """The UDP listener."""
    return world.listener
