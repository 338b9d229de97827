from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.turn.harness import PEER, Client, World, code_of
from tests.turn.tokens import token_client, token_world
from turnd.auth.credentials import Found, UsernameQuery
from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode
from turnd.stun.message import Method, decode_untrusted
from turnd.turn.ownership import owned_allocation
from turnd.turn.request import Refused, Request
from turnd.turn.settings import TurnSettings

if TYPE_CHECKING:
    from turnd.turn.turn_allocation import TurnAllocation

REQUESTS: list[tuple[Method, Any]] = [
    (Method.REFRESH, ()),
    (Method.REFRESH, ((a.LIFETIME, 0),)),
    (Method.CREATE_PERMISSION, ((a.XOR_PEER_ADDRESS, PEER),)),
    (Method.CHANNEL_BIND, ((a.CHANNEL_NUMBER, 0x4000), (a.XOR_PEER_ADDRESS, PEER))),
]


def request_of(client: Client, allocation: TurnAllocation | None) -> Request:
    world = client.world
    message = decode_untrusted(client.signed(Method.REFRESH))
    found = world.realm.credentials.lookup(UsernameQuery(client.user), world.now)
    assert isinstance(found, Found)
    (credential,) = found.candidates
    return Request(
        client.leg, message, world.now, world.realm, credential, client.integrity(), allocation
    )


def test_the_owner_gets_the_allocation() -> None:
    world = World()
    client = world.client()
    client.allocated()
    (allocation,) = world.state.table
    assert owned_allocation(request_of(client, allocation)) is allocation


def test_without_an_allocation_it_is_437() -> None:
    with pytest.raises(Refused) as refused:
        owned_allocation(request_of(World().client(), None))
    assert refused.value.code is ErrorCode.ALLOCATION_MISMATCH


def test_the_same_name_in_another_realm_is_another_user() -> None:
    world = World()
    client = world.client()
    client.allocated()
    (allocation,) = world.state.table
    allocation.realm = "elsewhere.example"
    with pytest.raises(Refused) as refused:
        owned_allocation(request_of(client, allocation))
    assert refused.value.code is ErrorCode.WRONG_CREDENTIALS


@pytest.mark.parametrize(("method", "attributes"), REQUESTS)
def test_another_user_with_valid_credentials_of_his_own_is_441(
    method: Method, attributes: Any
) -> None:
    world = World()
    world.client(user="alice").allocated()
    bob = world.client(user="bob")
    answer = bob.request(method, attributes)
    assert code_of(answer) == 441
    assert answer.verify_integrity(bob.key(), bob.integrity().algorithm)
    (allocation,) = world.state.table
    assert allocation.user == "alice"
    assert not allocation.relays[0].permissions


@pytest.mark.parametrize(("method", "attributes"), REQUESTS)
def test_on_a_five_tuple_without_allocation_it_is_437(method: Method, attributes: Any) -> None:
    client = World().client()
    answer = client.request(method, attributes)
    assert code_of(answer) == 437
    assert answer.verify_integrity(client.key(), client.integrity().algorithm)


@pytest.mark.parametrize(("method", "attributes"), REQUESTS)
def test_users_and_tokens_own_nothing_of_each_other_whatever_their_names(
    method: Method, attributes: Any
) -> None:
    world = token_world(users={"north": "password"})
    user, token = world.client(user="north"), token_client(world)
    user.password = "password"
    user.allocated()
    assert code_of(token.request(method, attributes)) == 441
    world = token_world(users={"north": "password"})
    user, token = world.client(user="north"), token_client(world)
    user.password = "password"
    token.allocated()
    assert code_of(user.request(method, attributes)) == 441


def test_another_token_on_the_five_tuple_is_the_owners() -> None:
    client = token_client(token_world())
    client.allocated()
    other = client.renewed(user="south")
    assert code_of(other.request(Method.CREATE_PERMISSION, ((a.XOR_PEER_ADDRESS, PEER),))) is None


def test_with_a_ticket_from_elsewhere_it_has_to_be_the_allocations_token() -> None:
    world = token_world(settings=TurnSettings(mobility=True))
    client = token_client(world)
    ticket = client.allocate((a.MOBILITY_TICKET, b"")).get(a.MOBILITY_TICKET)
    elsewhere = token_client(world, port=4001)
    claim = ((a.MOBILITY_TICKET, ticket),)
    assert code_of(elsewhere.renewed().request(Method.REFRESH, claim)) == 441
    assert code_of(elsewhere.request(Method.REFRESH, claim)) is None
    # There, it may be renewed.
    assert code_of(elsewhere.renewed().request(Method.REFRESH)) is None
