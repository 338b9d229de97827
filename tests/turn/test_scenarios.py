"""Whole stories: what clients, peers and admins do, one thing after the other, in virtual time."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.turn.harness import (
    OTHER_PEER,
    PEER,
    REALM,
    SECRET,
    SERVER,
    Client,
    StoreOfTests,
    World,
    code_of,
    from_peer,
)
from turnd.allocations.policy import PeerPolicy
from turnd.allocations.quotas import Quotas
from turnd.auth.chain import CredentialChain
from turnd.auth.credentials import (
    Credential,
    DerivedKeys,
    Found,
    Unavailable,
    UsernameQuery,
)
from turnd.auth.rest import RestSecrets
from turnd.auth.static import StaticUsers
from turnd.engine.base import Drop
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.channel_data import decode_channel_data_untrusted
from turnd.stun.message import Message, MessageClass, Method, decode_untrusted, encode_message
from turnd.turn.events import (
    AllocationCreated,
    AllocationEnded,
    AuthenticationFailed,
    Challenged,
    EndReason,
    RequestRefused,
)

DUAL = (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6)
REFUSED_BY_DEFAULT = [
    # IPv4: this host, private, loopback, link-local, carrier's NAT, multicast, broadcast, …
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    # IPv6: this host, unique local, link-local, multicast, documentation
    "::",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "ff02::1",
    "2001:db8:1::1",
    "100::1",
    # 10.0.0.1 and 127.0.0.1 in every encoding
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::10.0.0.1",
    "::127.0.0.1",
    "::ffff:0:10.0.0.1",  # SIIT
    "2002:a00:1::1",  # 6to4
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo
    "64:ff9b::10.0.0.1",  # NAT64
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "2600::5efe:10.0.0.1",  # ISATAP
    "2600::200:5efe:127.0.0.1",
]


def data_of(indication: bytes) -> tuple[TransportAddress, bytes]:
    """Peer and data of a Data indication."""
    message = decode_untrusted(indication)
    assert (message.method, message.message_class) == (Method.DATA, MessageClass.INDICATION)
    peer, data = message.get(a.XOR_PEER_ADDRESS), message.get(a.DATA)
    assert peer is not None
    assert data is not None
    return peer, data


def received(world: World, client: Client, since: int) -> list[bytes]:
    return [each.data for each in world.engine.sent_to_client[since:] if each.leg == client.leg]


def drops(world: World, reason: Drop) -> int:
    return world.engine.counters().drops.get(reason, 0)


# A call.


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("sha256", [True, False])
def test_a_call_from_the_first_challenge_to_the_hanging_up(stream: bool, sha256: bool) -> None:
    world = World()
    client = world.stream_client() if stream else world.client()
    client.sha256 = sha256
    relayed = client.allocated()

    client.permit(PEER)
    client.send_indication(PEER, b"by indication")
    assert data_of(from_peer(world, relayed, PEER, b"back")[0]) == (PEER, b"back")

    client.bind(0x4001, PEER)
    client.channel_data(0x4001, b"by channel")
    (back,) = from_peer(world, relayed, PEER, b"back")
    assert decode_channel_data_untrusted(back) == (0x4001, b"back")
    assert [each.data for each in world.engine.sent_to_peer] == [b"by indication", b"by channel"]

    for _ in range(20):  # an hour and a half, refreshed as clients do
        world.pass_time(270)
        assert renewed(client)
        assert code_of(client.bind(0x4001, PEER)) is None
        assert from_peer(world, relayed, PEER, b"still")

    assert client.refresh(0).get(a.LIFETIME) == 0
    assert world.engine.counters().relays == len(world.state.table) == 0
    assert code_of(client.permit(PEER)) == 437
    assert code_of(client.allocate()) is None


def renewed(client: Client) -> bool:
    """After a 438: take the new nonce, as clients do, and go on."""
    answer = client.refresh()
    if code_of(answer) == 438:
        client.nonce = answer.get(a.NONCE)
        answer = client.refresh()
    return code_of(answer) is None


def test_an_abandoned_call_leaves_nothing() -> None:
    world = World()
    client = world.client()
    client.allocated(DUAL)
    client.permit(PEER)
    client.bind(0x4000, OTHER_PEER)
    world.pass_time(600)
    assert world.engine.counters().relays == len(world.state.table) == 0
    assert world.realm.quotas.in_use == 0
    assert all(each.ports.in_use == 0 for each in world.relays)
    assert [type(each) for each in world.events] == [
        Challenged,
        AllocationCreated,
        AllocationEnded,
    ]


# Time.


def test_everything_ends_on_its_second_in_order() -> None:
    world = World()
    client = world.client()
    relayed = client.allocated((a.LIFETIME, 700))
    client.permit(OTHER_PEER)
    client.bind(0x4000, PEER)

    def alive() -> str:
        sent = len(world.engine.sent_to_peer)
        client.channel_data(0x4000, b"x")
        channel = len(world.engine.sent_to_peer) > sent
        if not len(world.state.table):
            return "nothing" if not channel else "a channel without allocation"
        permission = bool(from_peer(world, relayed, OTHER_PEER, b"x"))
        bound_permission = bool(from_peer(world, relayed, PEER, b"x"))
        return f"channel {channel}, permissions {permission} {bound_permission}"

    seen: dict[str, float] = {}
    start = world.now
    for _ in range(1402):
        seen.setdefault(alive(), world.now - start)
        world.pass_time(0.5)
    assert seen == {
        "channel True, permissions True True": 0,
        "channel True, permissions False False": 300,
        "channel False, permissions False False": 600,
        "nothing": 700,
    }


def test_deadlines_hold_also_when_python_is_late_to_tidy_up() -> None:
    world = World()
    client = world.client()
    relayed = client.allocated()
    client.permit(PEER)
    client.bind(0x4000, OTHER_PEER)
    world.now += 300  # nobody calls `expire`
    assert from_peer(world, relayed, PEER, b"late") == []
    world.now += 300
    client.channel_data(0x4000, b"late")
    client.send_indication(PEER, b"late")
    assert world.engine.sent_to_peer == []


# Two clients of one server.


@pytest.mark.parametrize(
    "addresses",
    [
        {"192.0.2.1": "192.0.2.1"},
        {"10.0.0.5": "203.0.113.7"},  # behind a 1:1 NAT without a hairpin
        {"192.168.7.7": "192.0.2.1"},
    ],
)
@pytest.mark.parametrize("channels", [True, False])
def test_two_clients_of_one_server_reach_each_other(
    addresses: dict[str, str], channels: bool
) -> None:
    world = World(addresses=addresses, deny=["special-purpose"])
    alice, bob = world.client(port=1), world.client(port=2, user="bob")
    at_alice, at_bob = alice.allocated(), bob.allocated()
    assert at_alice.host in addresses.values()
    if channels:
        assert code_of(alice.bind(0x4000, at_bob)) is None
        assert code_of(bob.bind(0x4FFF, at_alice)) is None
    else:
        assert code_of(alice.permit(at_bob)) is None
        assert code_of(bob.permit(at_alice)) is None
    since = len(world.engine.sent_to_client)
    if channels:
        alice.channel_data(0x4000, b"hello bob")
        bob.channel_data(0x4FFF, b"hello alice")
        (for_bob,) = received(world, bob, since)
        (for_alice,) = received(world, alice, since)
        assert decode_channel_data_untrusted(for_bob) == (0x4FFF, b"hello bob")
        assert decode_channel_data_untrusted(for_alice) == (0x4000, b"hello alice")
    else:
        alice.send_indication(at_bob, b"hello bob")
        bob.send_indication(at_alice, b"hello alice")
        (for_bob,) = received(world, bob, since)
        (for_alice,) = received(world, alice, since)
        assert data_of(for_bob) == (at_alice, b"hello bob")
        assert data_of(for_alice) == (at_bob, b"hello alice")


def test_one_client_may_be_its_own_peer_without_a_loop() -> None:
    world = World()
    client = world.client()
    relayed = client.allocated()
    client.permit(relayed)
    since = len(world.engine.sent_to_client)
    client.send_indication(relayed, b"echo")
    (echo,) = received(world, client, since)
    assert data_of(echo) == (relayed, b"echo")
    assert len(world.engine.sent_to_peer) == 1


@pytest.mark.parametrize("addresses", [{"192.0.2.1": "192.0.2.1"}, {"10.0.0.5": "192.0.2.1"}])
def test_own_addresses_are_reached_only_at_ports_relayed_at_that_moment(
    addresses: dict[str, str],
) -> None:
    world = World(addresses=addresses)
    alice, bob = world.client(port=1), world.client(port=2, user="bob")
    at_alice, at_bob = alice.allocated(), bob.allocated()
    ssh = TransportAddress(at_bob.host, 22)
    assert code_of(alice.permit(ssh)) is None  # a permission is for an address, not a port
    assert code_of(alice.bind(0x4000, ssh)) is None
    assert code_of(alice.bind(0x4001, at_bob)) is None
    assert code_of(bob.permit(at_alice)) is None
    bound = next(iter(addresses))
    assert code_of(alice.permit(TransportAddress(bound, 22))) is None
    for port in (22, 3478, 9641, at_bob.port + 1):
        for host in {at_bob.host, bound}:
            alice.send_indication(TransportAddress(host, port), b"inside?")
    alice.channel_data(0x4000, b"inside?")
    assert [each for each in world.engine.sent_to_peer if each.target.host == at_bob.host] == []
    assert [each for each in world.engine.sent_to_peer if each.target.host == bound] == []
    alice.channel_data(0x4001, b"fine")
    assert len(world.engine.sent_to_peer) == 1
    bob.refresh(0)
    alice.channel_data(0x4001, b"gone")
    alice.send_indication(at_bob, b"gone")
    assert len(world.engine.sent_to_peer) == 1
    assert drops(world, Drop.FORBIDDEN_PEER) >= 6


# Where it may not relay to.


@pytest.mark.parametrize("host", REFUSED_BY_DEFAULT)
def test_the_inside_is_out_of_reach_in_every_encoding(host: str) -> None:
    world = World(deny=["special-purpose"])
    client = world.client()
    client.allocated(DUAL)
    address = IPv6Address(host) if ":" in host else IPv4Address(host)
    peer = TransportAddress(str(address), 80)
    assert code_of(client.permit(peer)) == 403
    assert code_of(client.permit(TransportAddress("8.8.8.8", 1), peer)) == 403
    assert code_of(client.bind(0x4000, peer)) == 403
    client.send_indication(peer, b"GET /latest/meta-data/")
    client.channel_data(0x4000, b"GET /latest/meta-data/")
    assert world.engine.sent_to_peer == []
    (allocation,) = world.state.table
    assert all(not relay.permissions and not relay.channels for relay in allocation.relays)
    assert {each.code for each in world.reported(RequestRefused)} == {403}


@pytest.mark.parametrize("host", ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201::1"])
def test_the_server_itself_is_out_of_reach_in_another_encoding(host: str) -> None:
    world = World(deny=())  # an admin who denies nothing
    client = world.client()
    client.allocated(DUAL)
    listener = TransportAddress(str(IPv6Address(host)), 3478)
    assert code_of(client.bind(0x4000, listener)) == 403
    client.permit(listener)
    client.send_indication(listener, b"hello me")
    client.channel_data(0x4000, b"hello me")
    assert world.engine.sent_to_peer == []


def test_the_servers_listener_is_no_peer_whatever_is_permitted() -> None:
    world = World(deny=())
    client = world.client()
    client.allocated()
    assert code_of(client.bind(0x4000, SERVER)) == 403
    assert code_of(client.permit(SERVER)) is None  # its other ports may be relayed ones
    client.send_indication(SERVER, b"hello me")
    assert world.engine.sent_to_peer == []
    assert drops(world, Drop.FORBIDDEN_PEER) == 1


def test_dont_fragment_is_heeded_in_send_indications() -> None:
    world = World()
    client = world.client()
    client.allocated((a.DONT_FRAGMENT, True))
    client.permit(PEER)
    client.send_indication(PEER, b"whole", (a.DONT_FRAGMENT, True))
    client.send_indication(PEER, b"as it fits")
    assert [each.dont_fragment for each in world.engine.sent_to_peer] == [True, False]


def test_what_an_admin_allows_beats_what_is_denied() -> None:
    world = World()
    world.realm.policy = PeerPolicy.build(["special-purpose"], ["10.1.0.0/16"])
    client = world.client()
    client.allocated()
    assert code_of(client.permit(TransportAddress("10.1.2.3", 1))) is None
    assert code_of(client.permit(TransportAddress("10.2.2.3", 1))) == 403


def test_data_without_a_permission_goes_nowhere() -> None:
    world = World()
    client = world.client()
    relayed = client.allocated()
    client.send_indication(PEER, b"out")
    client.channel_data(0x4000, b"out")
    assert world.engine.sent_to_peer == []
    assert from_peer(world, relayed, PEER, b"in") == []


# Credentials that change under way.


def test_a_rotated_secret_ends_no_call() -> None:
    world = World(secrets=[SECRET])
    client = world.rest_client(port=1)
    client.allocated()
    world.realm.credentials = CredentialChain(
        REALM, StaticUsers(REALM, {}), RestSecrets(REALM, ["fresh"], lambda: world.wall)
    )
    for _ in range(10):
        world.pass_time(300)
        assert renewed(client)
        assert code_of(client.bind(0x4000, PEER)) is None
    assert code_of(world.rest_client(port=2).allocate()) == 401


def test_redis_goes_away_in_the_middle_of_a_call() -> None:
    query = UsernameQuery("dave")
    dave = Credential("dave", "dave", DerivedKeys("dave", REALM, "davit"), source="redis")
    store = StoreOfTests()
    world = World(store=store)
    client, late = world.client(port=1, user="dave"), world.client(port=2, user="dave")
    client.password = late.password = "davit"
    allocate = client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),))
    assert client.send(allocate) == []
    assert client.send(allocate) == []  # the retransmission after 250 ms
    assert world.resume(Found((dave,))) is not None
    store.known[query] = Unavailable("connection refused")
    for _ in range(5):
        world.pass_time(250)
        assert renewed(client)
        assert code_of(client.permit(PEER)) is None
    assert code_of(late.allocate()) == 500
    assert code_of(world.client(port=3).allocate()) is None  # a static user needs no store
    store.known[query] = Found((dave,))
    assert code_of(late.allocate()) is None


def test_a_rest_credential_that_expires_during_a_call() -> None:
    world = World(secrets=[SECRET])
    client = world.rest_client(expires_in=400)
    client.allocated()
    world.pass_time(500)
    assert renewed(client)
    assert code_of(client.refresh(0)) is None
    assert code_of(client.allocate()) == 401
    assert [each.reason for each in world.reported(AuthenticationFailed)] == ["expired"]


def test_rest_names_of_one_user_share_a_quota() -> None:
    world = World(secrets=[SECRET], quotas=Quotas(per_user=2))
    clients = [world.rest_client(expires_in=100 + port, port=port) for port in (1, 2, 3)]
    assert [code_of(each.allocate()) for each in clients] == [None, None, 486]
    clients[0].refresh(0)
    assert code_of(clients[2].allocate()) is None
    assert code_of(world.rest_client(user="erin", port=9).allocate()) is None


# Strangers and other users.


def test_another_user_can_do_nothing_with_an_allocation() -> None:
    world = World()
    alice, bob = world.client(), world.client(user="bob")
    alice.allocated()
    alice.permit(PEER)
    answers: list[Message] = [
        bob.refresh(0),
        bob.refresh(3600),
        bob.permit(OTHER_PEER),
        bob.bind(0x4000, OTHER_PEER),
    ]
    assert [code_of(each) for each in answers] == [441] * 4
    for each in answers:
        assert each.verify_integrity(bob.key(), bob.integrity().algorithm)
    assert code_of(bob.allocate()) == 437
    (allocation,) = world.state.table
    assert list(allocation.relays[0].permissions) == [PEER.host]
    world.pass_time(600)
    assert len(world.state.table) == 0


def test_guessing_passwords_brings_a_line_each_and_nothing_else() -> None:
    world = World()
    client = world.client()
    for guess in ("a", "b", "c"):
        client.password = guess
        assert code_of(client.allocate()) == 401
    assert len(world.reported(AuthenticationFailed)) == 3
    assert len(world.state.table) == 0
    client.password = "wonderland"
    assert code_of(client.allocate()) is None


def test_rtp_and_rtcp_get_neighbouring_ports() -> None:
    world = World()
    rtp, rtcp = world.client(port=1), world.client(port=2)
    answer = rtp.allocate((a.EVEN_PORT, True))
    at_rtp, token = answer.get(a.XOR_RELAYED_ADDRESS), answer.get(a.RESERVATION_TOKEN)
    assert at_rtp is not None
    world.pass_time(29)
    at_rtcp = rtcp.allocated((a.RESERVATION_TOKEN, token))
    assert (at_rtp.port % 2, at_rtcp.port) == (0, at_rtp.port + 1)
    rtcp.permit(PEER)
    world.pass_time(30)
    assert from_peer(world, at_rtcp, PEER, b"report")
    rtp.refresh(0)
    rtcp.refresh(0)
    assert next(iter(world.relays)).ports.in_use == 0


def test_the_last_seconds_of_a_server() -> None:
    world = World()
    client = world.client(port=1)
    relayed = client.allocated()
    client.permit(PEER)
    world.state.draining = True
    assert code_of(world.client(port=2).allocate()) == 508
    assert from_peer(world, relayed, PEER, b"goes on")
    world.server.end_all(world.now)
    assert world.engine.counters().relays == 0
    assert [each.reason for each in world.reported(AllocationEnded)] == [EndReason.SHUTDOWN]


def test_a_burst_of_frames_on_a_stream_is_answered_in_order() -> None:
    world = World()
    client = world.stream_client()
    client.challenge()
    burst = b"".join(
        (
            client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),)),
            client.signed(
                Method.CHANNEL_BIND, ((a.CHANNEL_NUMBER, 0x4000), (a.XOR_PEER_ADDRESS, PEER))
            ),
            client.signed(Method.REFRESH, ((a.LIFETIME, 0),)),
            encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), ()),
        )
    )
    answers = [decode_untrusted(data) for data in client.send(burst)]
    assert [each.method for each in answers] == [
        Method.ALLOCATE,
        Method.CHANNEL_BIND,
        Method.REFRESH,
        Method.BINDING,
    ]
    assert {each.message_class for each in answers} == {MessageClass.SUCCESS}
    assert len(world.state.table) == 0
