from __future__ import annotations

import pytest

from tests.turn.fake_peer_sockets import FakePeerSockets
from turnd.allocations.allocation import RelayedTransport
from turnd.allocations.relay_ports import RelayPorts
from turnd.engine.base import BucketId, Leg, ListenerId, ListenerSettings, RelayError, Transport
from turnd.engine.fake import FakeEngine
from turnd.stun.addresses import (
    AddressFamily,
    ClientAddress,
    PeerAddress,
    ServerAddress,
    TransportAddress,
)
from turnd.turn.relay_addresses import (
    AddressPair,
    OpenedRelay,
    RelayAddress,
    RelayAddresses,
    Serves,
)

SERVER = TransportAddress("192.0.2.1", 3478)
IPV4, IPV6 = AddressFamily.IPV4, AddressFamily.IPV6
BOUND_AND_ANNOUNCED = ("10.0.0.5", "203.0.113.7")


class Host:
    """Relay addresses on a fake engine; `turn` says with which address the next look begins."""

    def __init__(self, *pairs: tuple[str, str], low: int = 50_000, high: int = 50_009) -> None:
        self.turn = 0
        self.engine = FakeEngine(lambda: 0.0)
        self.listener: ListenerId = self.engine.listen(SERVER, ListenerSettings())
        self.addresses = [
            RelayAddress(bound, announced, RelayPorts(low, high, 60, lambda _: 0))
            for bound, announced in pairs
        ]
        self.peer_sockets = FakePeerSockets()
        self.relays = RelayAddresses(
            self.engine, self.peer_sockets, self.addresses, lambda n: self.turn % n
        )
        self.port = 0

    def leg(self) -> Leg:
        self.port += 1
        client = ClientAddress(TransportAddress("203.0.113.5", self.port))
        return Leg(self.listener, Transport.UDP, ServerAddress(SERVER), client)

    def serves(self) -> Serves:
        return Serves(self.leg(), 600.0, [BucketId(7)])

    def open(self, family: AddressFamily = IPV4, *, even: bool = False) -> OpenedRelay:
        opened = self.relays.open(family, self.serves(), 0.0, even=even)
        assert isinstance(opened, OpenedRelay)
        return opened

    def in_use(self) -> list[int]:
        return [each.ports.in_use for each in self.addresses]


def nat() -> Host:
    return Host(("10.0.0.5", "203.0.113.7"))


def test_bound_and_announced_differ_behind_a_1_to_1_nat() -> None:
    host = nat()
    opened = host.open()
    assert opened.bound == ("10.0.0.5", opened.bound.port)
    assert opened.relayed == ("203.0.113.7", opened.bound.port)
    assert host.engine.bound_of(opened.relay_id) == opened.bound


def test_a_closed_relay_gives_its_port_back() -> None:
    host = nat()
    opened = host.open()
    assert host.in_use() == [1]
    host.relays.close(opened.relay_id, opened.bound, 5.0)
    assert host.in_use() == [0]
    assert host.engine.counters().relays == 0


def test_a_port_goes_back_to_where_it_was_bound() -> None:
    """Also where an admin announces two of our addresses as one."""
    host = Host(("10.0.0.5", "203.0.113.7"), ("10.0.0.6", "203.0.113.7"))
    opened = host.open()
    assert host.in_use() == [1, 0]
    host.relays.close(opened.relay_id, opened.bound, 5.0)
    assert host.in_use() == [0, 0]


def test_which_families_there_are() -> None:
    host = nat()
    assert host.relays.serves(IPV4)
    assert not host.relays.serves(IPV6)
    assert not host.relays.serves(7)
    assert host.relays.open(IPV6, host.serves(), 0.0) is RelayError.NO_SUCH_ADDRESS
    assert list(host.relays) == host.addresses


def test_an_even_port() -> None:
    host = Host(("192.0.2.1", "192.0.2.1"), low=50_001, high=50_002)
    assert host.open(even=True).bound.port == 50_002
    assert host.relays.open(IPV4, host.serves(), 0.0, even=True) is RelayError.PORT_TAKEN
    assert host.open().bound.port == 50_001


def test_several_addresses_take_turns_and_stand_in_for_each_other() -> None:
    host = Host(("192.0.2.1", "192.0.2.1"), ("192.0.2.2", "192.0.2.2"), low=50_000, high=50_000)
    host.turn = 1
    assert host.open().bound.host == "192.0.2.2"
    assert host.open().bound.host == "192.0.2.1"
    assert host.relays.open(IPV4, host.serves(), 0.0) is RelayError.PORT_TAKEN
    assert host.in_use() == [1, 1]


def test_ports_of_other_programs_are_passed_over() -> None:
    host = Host(("192.0.2.1", "192.0.2.1"))
    host.engine.taken = {TransportAddress("192.0.2.1", port) for port in range(50_000, 50_009)}
    assert host.open().bound.port == 50_009
    assert host.in_use() == [1]


def test_where_all_ports_are_taken_the_search_ends() -> None:
    host = Host(("192.0.2.1", "192.0.2.1"), low=50_000, high=59_999)
    host.engine.taken = {TransportAddress("192.0.2.1", port) for port in range(50_000, 60_000)}
    assert host.relays.open(IPV4, host.serves(), 0.0) is RelayError.PORT_TAKEN
    assert len([call for call in host.engine.calls if call.verb == "open_relay"]) == 32
    assert host.in_use() == [0]


@pytest.mark.parametrize(
    ("hosts", "descriptors", "error"),
    [
        ({"198.51.100.1"}, None, RelayError.NO_SUCH_ADDRESS),
        (None, 0, RelayError.NO_DESCRIPTORS),
    ],
)
def test_what_another_port_would_not_mend_is_tried_once(
    hosts: set[str] | None, descriptors: int | None, error: RelayError
) -> None:
    host = nat()
    host.engine.hosts, host.engine.descriptors = hosts, descriptors
    assert host.relays.open(IPV4, host.serves(), 0.0) is error
    assert len([call for call in host.engine.calls if call.verb == "open_relay"]) == 1
    assert host.in_use() == [0]


def pair_of(host: Host) -> tuple[OpenedRelay, OpenedRelay] | RelayError:
    return host.relays.open_pair(IPV4, host.serves(), 0.0, 30.0)


def test_a_pair_is_an_even_port_and_the_next_as_a_reservation() -> None:
    host = nat()
    pair = pair_of(host)
    assert not isinstance(pair, RelayError)
    first, second = pair
    assert first.bound.port % 2 == 0
    assert second.bound.port == first.bound.port + 1
    opened = [call.arguments for call in host.engine.calls if call.verb == "open_relay"]
    assert [(leg is None, *rest) for leg, _, *rest in opened] == [
        (False, 600.0, (7,)),
        (True, 30.0, ()),
    ]
    assert host.in_use() == [2]


@pytest.mark.parametrize("taken", [50_000, 50_001])
def test_half_a_pair_is_none(taken: int) -> None:
    host = Host(("192.0.2.1", "192.0.2.1"), low=50_000, high=50_003)
    host.engine.taken = {TransportAddress("192.0.2.1", taken)}
    pair = pair_of(host)
    assert not isinstance(pair, RelayError)
    assert [each.bound.port for each in pair] == [50_002, 50_003]
    assert host.in_use() == [2]
    assert host.engine.counters().relays == 2


def test_without_a_pair_nothing_stays_open() -> None:
    host = Host(("192.0.2.1", "192.0.2.1"), low=50_000, high=50_001)
    host.engine.descriptors = 1
    assert pair_of(host) is RelayError.NO_DESCRIPTORS
    assert host.in_use() == [0]
    assert host.engine.counters().relays == 0
    host.open()
    host.engine.descriptors = None
    assert pair_of(host) is RelayError.PORT_TAKEN


LAN, HOME, LATER = "10.0.0.5", "203.0.113.7", "203.0.113.8"


def address(bound: str, announced: str) -> RelayAddress:
    return RelayAddress(bound, announced, RelayPorts(50_000, 50_009, 60, lambda _: 0))


def test_a_change_is_for_new_relays_and_the_old_address_stays_known_as_long_as_it_is_used() -> None:
    host = nat()
    old = host.open()
    host.relays.use([address(LAN, LATER)])
    assert host.relays.pairs == (AddressPair(LAN, LATER),)
    new = host.open()
    assert (old.relayed.host, new.relayed.host) == (HOME, LATER)
    assert list(host.relays.known.items()) == [(HOME, LAN), (LATER, LAN)]
    assert host.in_use() == [2], "the ports of a host go on"
    assert old.bound.port != new.bound.port
    host.relays.close(old.relay_id, old.bound, 5.0)
    assert host.relays.known == {LATER: LAN}
    host.relays.close(new.relay_id, new.bound, 5.0)
    assert host.relays.known == {LATER: LAN}
    assert host.in_use() == [0]


def test_what_is_in_force_comes_last_also_when_it_comes_back() -> None:
    host = nat()
    host.open()
    host.relays.use([address(LAN, LATER)])
    host.open()
    host.relays.use([address(LAN, HOME)])
    assert list(host.relays.known) == [LATER, HOME]


def test_an_address_that_is_gone_is_avoided_and_its_relays_can_be_closed() -> None:
    host = Host((LAN, LAN), ("10.0.0.6", "10.0.0.6"))
    old = host.open()
    host.relays.use([address("10.0.0.6", "10.0.0.6")])
    assert {host.open().bound.host for _ in range(3)} == {"10.0.0.6"}
    assert host.relays.known == {LAN: LAN, "10.0.0.6": "10.0.0.6"}
    host.relays.use([address("10.0.0.6", "10.0.0.6"), address(LAN, LAN)])
    assert [each.ports.in_use for each in host.relays] == [3, 1], "it has come back"
    host.relays.use([address("10.0.0.6", "10.0.0.6")])
    host.relays.close(old.relay_id, old.bound, 5.0)
    host.relays.use([address("10.0.0.6", "10.0.0.6")])
    assert host.relays.known == {"10.0.0.6": "10.0.0.6"}


def test_a_family_that_lacks_an_address_just_now_is_served_all_the_same() -> None:
    host = nat()
    host.relays.use([], {IPV6})
    assert not host.relays.serves(IPV4)
    assert host.relays.serves(IPV6)
    assert host.relays.open(IPV6, host.serves(), 0.0) is RelayError.NO_SUCH_ADDRESS
    pair = host.relays.open_pair(IPV6, host.serves(), 0.0, 30.0)
    assert pair is RelayError.NO_SUCH_ADDRESS


def test_tcp_and_udp_draw_from_the_same_ports() -> None:
    host = Host(BOUND_AND_ANNOUNCED)
    serves = Serves(None, 600.0, (), RelayedTransport.TCP)
    opened = host.relays.open(IPV4, serves, 0.0)
    assert isinstance(opened, OpenedRelay)
    assert host.peer_sockets.listening == {opened.relay_id: opened.bound}
    (address,) = host.addresses
    assert address.ports.in_use == 1
    host.peer_sockets.error = RelayError.NO_DESCRIPTORS
    assert host.relays.open(IPV4, serves, 0.0) is RelayError.NO_DESCRIPTORS
    host.relays.close(opened.relay_id, opened.bound, 0.0, RelayedTransport.TCP)
    assert host.peer_sockets.listening == {}
    assert address.ports.in_use == 0


def test_addresses_of_ours_are_reached_by_tcp_only_where_something_is_relayed() -> None:
    bound, announced = BOUND_AND_ANNOUNCED
    host = Host(BOUND_AND_ANNOUNCED)
    opened = host.relays.open(IPV4, Serves(None, 600.0, (), RelayedTransport.TCP), 0.0)
    assert isinstance(opened, OpenedRelay)
    port = opened.bound.port
    for face in (bound, announced):
        peer = PeerAddress(TransportAddress(face, port))
        assert host.relays.tcp_target(peer) == opened.bound
        assert host.relays.tcp_target(PeerAddress(TransportAddress(face, port + 1))) is None
    elsewhere = PeerAddress(TransportAddress("198.51.100.77", port))
    assert host.relays.tcp_target(elsewhere) == elsewhere
    assert host.relays.tcp_peer(opened.bound) == PeerAddress(TransportAddress(announced, port))
    assert host.relays.tcp_peer(elsewhere) == elsewhere
    host.relays.close(opened.relay_id, opened.bound, 0.0, RelayedTransport.TCP)
    assert host.relays.tcp_target(PeerAddress(opened.relayed)) is None


def test_by_tcp_a_relay_keeps_the_address_that_it_was_opened_under() -> None:
    host = nat()
    old = host.open()
    host.relays.use([address(LAN, LATER)])
    new = host.open()
    for opened, announced in ((old, HOME), (new, LATER)):
        shown = PeerAddress(TransportAddress(announced, opened.bound.port))
        assert host.relays.tcp_peer(opened.bound) == shown


def test_on_loopback_the_policy_alone_decides() -> None:
    host = Host(("127.0.0.1", "127.0.0.1"))
    peer = PeerAddress(TransportAddress("127.0.0.1", 8080))
    assert host.relays.tcp_target(peer) == peer


def test_pairs_are_shown_as_an_admin_writes_them() -> None:
    assert str(AddressPair(LAN, HOME)) == f"{LAN}={HOME}"
    assert str(AddressPair(LAN, LAN)) == LAN
