from __future__ import annotations

import pytest

from turnd.engine.choose import EngineOptions, EngineUnavailableError, choose_engine


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [("portable", "as configured"), ("auto", "no native engine is installed")],
)
def test_the_portable_engine_always_works(wanted: str, reason: str) -> None:
    choice = choose_engine(EngineOptions(wanted))
    try:
        assert choice.engine.name == "portable"
        assert choice.reason == reason
    finally:
        choice.engine.stop()


def test_there_is_no_native_engine_to_ask_for() -> None:
    with pytest.raises(EngineUnavailableError, match="say auto or portable"):
        choose_engine(EngineOptions("native"))
