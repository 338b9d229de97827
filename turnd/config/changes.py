"""What differs between two configurations, and what brings it into force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from turnd.config.fields import Reload, Section
from turnd.config.keys import Key
from turnd.config.problems import Path, format_path

if TYPE_CHECKING:
    from turnd.config.model import Config


_S = TypeVar("_S", bound=Section)


@dataclass(slots=True)
class Changes:
    """Changed keys as paths, in the model's order: what a reload does, and what it cannot."""

    live: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)


def compare(old: Config, new: Config) -> Changes:
    """Which keys have other values in `new`. Values are not told: some are secret."""
    changes = Changes()
    _compare(old, new, (), changes)
    return changes


def _compare(old: Section, new: Section, path: Path, changes: Changes) -> None:
    for name, info in type(new).model_fields.items():
        key = Key((name,), info)
        before, after = getattr(old, name), getattr(new, name)
        where = (*path, name)
        if before == after:
            continue
        if isinstance(before, Section) and isinstance(after, Section):
            _compare(before, after, where, changes)
        elif isinstance(before, Mapping) and where == ("realms",):
            _compare_realms(before, after, changes)
        elif key.reload is Reload.RESTART:
            changes.restart.append(format_path(where))
        else:
            changes.live.append(format_path(where))


def _compare_realms(
    old: Mapping[str, Section], new: Mapping[str, Section], changes: Changes
) -> None:
    """A realm that comes or goes has endpoints that come or go: a restart."""
    for name in dict.fromkeys([*old, *new]):
        path = ("realms", name)
        if name in old and name in new:
            _compare(old[name], new[name], path, changes)
        else:
            changes.restart.append(format_path(path))


def until_restart(old: Config, new: Config) -> Config:
    """`new`, with the values of `old` wherever only a restart brings a change into force.

    Whoever compares the result with a later configuration finds such a change again.
    """
    return _until_restart(old, new)


def _until_restart(old: _S, new: _S) -> _S:
    kept: dict[str, Any] = {}
    for name, info in type(new).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Section) and isinstance(after, Section):
            kept[name] = _until_restart(before, after)
        elif name == "realms" and isinstance(before, Mapping):
            # Those that are to go come first: what others claim of their names is theirs at once.
            kept[name] = {
                realm: _until_restart(values, after[realm]) if realm in after else values
                for realm, values in sorted(before.items(), key=lambda each: each[0] in after)
            }
        elif Key((name,), info).reload is Reload.RESTART:
            kept[name] = before
    return new.model_copy(update=kept)
