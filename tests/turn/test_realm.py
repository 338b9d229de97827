from __future__ import annotations

import pytest

from tests.turn.harness import OTHER_PEER, PEER, REALM, World, code_of
from turnd.allocations.policy import PeerPolicy
from turnd.allocations.quotas import Quotas
from turnd.auth.chain import CredentialChain
from turnd.auth.rest import RestSecrets
from turnd.auth.static import StaticUsers
from turnd.turn.realm import Realm


def chain(realm: str, users: dict[str, str]) -> CredentialChain:
    return CredentialChain(realm, StaticUsers(realm, users), RestSecrets(realm, (), lambda: 0.0))


def test_its_fields_may_be_replaced_while_the_server_runs() -> None:
    world = World()
    client, bob = world.client(port=1), world.client(port=2, user="bob")
    client.allocated()
    world.realm.policy = PeerPolicy.build([PEER.host])
    assert code_of(client.permit(PEER)) == 403
    assert code_of(client.permit(OTHER_PEER)) is None
    world.realm.credentials = chain(REALM, {"bob": "rebuilt"})
    assert code_of(bob.allocate()) == 401
    bob.password = "rebuilt"
    assert code_of(bob.allocate()) is None


def test_it_has_no_other_fields() -> None:
    realm = Realm(REALM, chain(REALM, {}), PeerPolicy.build(), Quotas())
    with pytest.raises(AttributeError):
        realm.polcy = PeerPolicy.build(["10.0.0.0/8"])  # type: ignore[attr-defined] # a typo
