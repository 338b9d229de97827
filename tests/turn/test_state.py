from __future__ import annotations

import pytest

from tests.turn.harness import PEER, World, code_of


def test_a_server_starts_by_letting_in() -> None:
    assert not World().state.draining


def test_draining_refuses_new_allocations_and_leaves_the_others_be() -> None:
    world = World()
    client = world.client(port=1)
    client.allocated()
    world.state.draining = True
    assert code_of(world.client(port=2).allocate()) == 508
    assert code_of(client.permit(PEER)) is None
    assert code_of(client.bind(0x4000, PEER)) is None
    assert code_of(client.refresh()) is None
    assert code_of(client.refresh(0)) is None


def test_it_has_no_other_fields() -> None:
    state = World().state
    with pytest.raises(AttributeError):
        state.drainig = True  # type: ignore[attr-defined] # a typo
