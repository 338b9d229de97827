from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

import pytest

from tests.turn.harness import World
from turnd.turn.events import (
    AuthenticationFailed,
    Challenged,
    Dropped,
    EndReason,
    Event,
    FailureReason,
    MessageDropped,
)

if TYPE_CHECKING:
    from enum import StrEnum

    from turnd.engine.base import Leg


@pytest.mark.parametrize("reasons", [FailureReason, EndReason, Dropped])
def test_reasons_are_labels_of_metrics(reasons: type[StrEnum]) -> None:
    assert len(set(reasons)) == len(reasons.__members__)
    for reason in reasons:
        assert re.fullmatch("[a-z]+(_[a-z]+)*", reason.value)
        assert reason.value == reason.name.lower()


def leg() -> Leg:
    return World().client().leg


def test_events_compare_by_value_and_do_not_change() -> None:
    event = MessageDropped(leg(), Dropped.MALFORMED)
    assert event == MessageDropped(leg(), Dropped.MALFORMED)
    assert event != MessageDropped(leg(), Dropped.OVER_BUDGET)
    with pytest.raises(AttributeError):
        event.reason = Dropped.OVER_BUDGET  # type: ignore[misc] # that it fails is the point


def test_every_event_says_whose_it_is() -> None:
    for kind in get_args(Event):
        assert kind._fields[0] == "leg"


def test_a_user_is_told_as_the_client_wrote_it() -> None:
    world = World()
    client = world.client(user="mallory\n% x")
    client.password = "x"
    client.allocate()
    assert world.reported(Challenged) == [Challenged(client.leg)]
    assert world.reported(AuthenticationFailed) == [
        AuthenticationFailed(client.leg, "mallory\n% x", "example.org", FailureReason.UNKNOWN_USER)
    ]
