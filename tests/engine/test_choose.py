from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from turnd.engine import choose
from turnd.engine.choose import EngineOptions, choose_engine
from turnd.engine.installed import EngineUnavailableError


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def require() -> None:
        raise EngineUnavailableError("no native engine is installed (as if)")

    monkeypatch.setattr(choose, "require_native", require)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A native engine as if there were one, and what it was made with."""
    calls: list[tuple[Any, ...]] = []

    def make(*arguments: Any) -> SimpleNamespace:
        calls.append(arguments)
        if arguments[0] == 0:
            raise OSError(12, "no memory")
        return SimpleNamespace(name="native")

    monkeypatch.setattr(choose, "require_native", lambda: None)
    monkeypatch.setitem(sys.modules, "turnd.engine.native", SimpleNamespace(NativeEngine=make))
    return calls


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (EngineOptions("portable"), "as configured"),
        (EngineOptions("portable", native_required=True), "as configured"),
        (EngineOptions("auto"), "no native engine is installed (as if)"),
    ],
)
def test_the_portable_engine_always_works(
    wanted: EngineOptions, reason: str, missing: None
) -> None:
    choice = choose_engine(wanted)
    choice.engine.stop()
    assert choice.engine.name == "portable"
    assert choice.reason == reason


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (EngineOptions("native"), r"^engine: native: .*\(as if\); make install builds one"),
        (EngineOptions("auto", native_required=True), r"^TURND_REQUIRE_NATIVE: .*\(as if\); make"),
    ],
)
def test_a_native_engine_that_has_to_be(wanted: EngineOptions, words: str, missing: None) -> None:
    with pytest.raises(EngineUnavailableError, match=words):
        choose_engine(wanted)


@pytest.mark.parametrize(
    ("wanted", "reason"), [("auto", "it is installed"), ("native", "as configured")]
)
def test_the_native_engine_goes_first(
    wanted: str, reason: str, made: list[tuple[Any, ...]]
) -> None:
    choice = choose_engine(EngineOptions(wanted, workers=3, cpus=(1, 2)))
    assert (choice.engine.name, choice.reason) == ("native", reason)
    assert made == [(3, (1, 2))]


def test_an_engine_that_does_not_run_here(made: list[tuple[Any, ...]]) -> None:
    with pytest.raises(EngineUnavailableError, match=r"does not run here .*no memory"):
        choose_engine(EngineOptions("native", workers=0))
    choice = choose_engine(EngineOptions("auto", workers=0))
    choice.engine.stop()
    assert choice.engine.name == "portable"
    assert "no memory" in choice.reason
