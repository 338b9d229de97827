from __future__ import annotations

import pytest

from tests.turn.harness import PEER
from tests.turn.tcp import bound, tcp_client, tcp_world


def test_it_remembers_who_asked_and_nothing_by_chance() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    data, number = bound(client)
    connection = world.state.connections.of_leg(data.leg)
    assert connection is not None
    assert (connection.number, connection.peer, connection.leg) == (number, PEER, data.leg)
    assert connection.request is not None
    assert connection.request.leg == client.leg
    with pytest.raises(AttributeError):
        connection.colour = 1  # type: ignore[attr-defined] # slots
