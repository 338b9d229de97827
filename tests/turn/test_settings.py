from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from tests.turn.harness import World, code_of
from turnd.stun import attributes as a
from turnd.turn.settings import TurnSettings


def test_the_defaults_are_the_rfcs() -> None:
    settings = TurnSettings()
    assert (settings.default_lifetime, settings.max_lifetime) == (600, 3600)
    assert settings.software == "turnd"


def test_they_are_replaced_as_a_whole() -> None:
    settings = TurnSettings()
    with pytest.raises(FrozenInstanceError):
        settings.max_lifetime = 1  # type: ignore[misc] # that it fails is the point


def test_new_settings_hold_for_the_next_request() -> None:
    world = World()
    client = world.client()
    client.allocated()
    assert client.refresh(3600).get(a.LIFETIME) == 3600
    world.state.settings = replace(world.state.settings, max_lifetime=700, software="turnd 1.0")
    answer = client.refresh(3600)
    assert code_of(answer) is None
    assert answer.get(a.LIFETIME) == 700
    assert answer.get(a.SOFTWARE) == "turnd 1.0"


def test_without_software_nothing_is_sent_under_that_name() -> None:
    client = World(settings=TurnSettings(software="")).client()
    assert not client.allocate().has(a.SOFTWARE)
    assert not client.allocate().has(a.SOFTWARE)  # 437
