from __future__ import annotations

import pytest

from tests.turn.harness import World
from turnd.turn.turn_allocation import TurnAllocation


def test_it_remembers_what_handlers_need_and_nothing_by_chance() -> None:
    client = World().client()
    client.allocated()
    (allocation,) = client.world.state.table
    assert isinstance(allocation, TurnAllocation)
    assert allocation.leg == client.leg
    assert allocation.credential.user == allocation.user == client.user
    assert len(allocation.transaction_id) == 12
    assert allocation.connected
    assert allocation.returned is None
    assert allocation.next_leg is None
    with pytest.raises(AttributeError):
        allocation.colour = 1  # type: ignore[attr-defined] # slots: memory is per allocation
