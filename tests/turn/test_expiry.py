from __future__ import annotations

from tests.tokens import seal
from tests.turn.harness import BOTH_ALGORITHMS, PEER, REALM, SECRET, World, code_of
from tests.turn.tokens import token_client, token_world
from turnd.stun import attributes as a
from turnd.stun.message import IntegrityAlgorithm, Method
from turnd.turn.events import AuthenticationFailed, FailureReason

TRANSPORT = (a.REQUESTED_TRANSPORT, 17)


def test_an_expired_credential_cannot_allocate_but_refresh() -> None:
    world = World(secrets=[SECRET])
    client, late = world.rest_client(100, port=1), world.rest_client(-1, port=2)
    client.allocated()
    answer = late.allocate()
    assert code_of(answer) == 401
    assert answer.get(a.REALM) == REALM
    assert answer.has(a.NONCE)
    assert answer.get(a.PASSWORD_ALGORITHMS) == BOTH_ALGORITHMS
    assert answer.verify_integrity(late.key(), IntegrityAlgorithm.SHA1)
    (failed,) = world.reported(AuthenticationFailed)
    assert failed.reason is FailureReason.EXPIRED
    world.pass_time(101)
    for each in (client.refresh(), client.permit(PEER), client.bind(0x4000, PEER)):
        assert code_of(each) is None


def test_a_credential_is_good_up_to_its_second() -> None:
    world = World(secrets=[SECRET])
    client = world.rest_client(100)
    client.challenge()
    world.pass_time(100)
    assert code_of(client.allocate()) is None


def test_with_strict_expiry_it_cannot_refresh_either() -> None:
    world = World(secrets=[SECRET])
    world.realm.strict_expiry = True
    client = world.rest_client(100)
    client.allocated()
    assert code_of(client.refresh()) is None
    world.pass_time(101)
    assert code_of(client.refresh()) == 401
    assert code_of(client.permit(PEER)) is None
    assert code_of(client.refresh(0)) is None


def test_a_retransmission_is_answered_alike_after_the_credentials_date() -> None:
    world = World(secrets=[SECRET])
    client = world.rest_client(0)
    data = client.signed(Method.ALLOCATE, (TRANSPORT,))
    first = client.send(data)
    world.pass_time(2)
    assert client.send(data) == first
    assert code_of(client.allocate()) == 437


def test_a_token_whose_time_is_over_is_401_signed_but_may_end_what_it_began() -> None:
    world = token_world()
    early, late = token_client(world, lifetime=3000, port=1), token_client(world, port=2)
    early.allocated()
    late.token = seal(world.wall - 3605, 3600)
    answer = late.allocate()
    assert code_of(answer) == 401
    assert answer.has(a.THIRD_PARTY_AUTHORIZATION)
    assert answer.verify_integrity(*late.integrity())
    assert [each.reason for each in world.reported(AuthenticationFailed)] == [FailureReason.EXPIRED]
    early.token = seal(world.wall - 3605, 3600)
    assert code_of(early.request(Method.CREATE_PERMISSION, ((a.XOR_PEER_ADDRESS, PEER),))) == 401
    assert code_of(early.request(Method.REFRESH)) == 401
    assert code_of(early.request(Method.REFRESH, ((a.LIFETIME, 0),))) is None
    assert not list(world.state.table)


def test_a_retransmission_is_answered_alike_after_the_tokens_end() -> None:
    world = token_world()
    client = token_client(world, lifetime=600)
    data = client.signed(Method.ALLOCATE, (TRANSPORT,))
    first = client.send(data)
    world.wall += 605
    assert client.send(data) == first


def test_an_allocation_ends_with_its_token() -> None:
    world = token_world()
    client = token_client(world, lifetime=60)
    assert client.allocate((a.LIFETIME, 3600)).get(a.LIFETIME) == 60
    world.pass_time(59)
    assert len(world.state.table) == 1
    world.pass_time(1)
    assert not list(world.state.table)
