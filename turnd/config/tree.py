"""The configuration as plain values, with the place where each was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from turnd.config.problems import Origin, Path


@dataclass(slots=True)
class Tree:
    """Plain values (dict, tuple, str, int, float, bool, None) and where each was written."""

    value: Any = None
    origins: dict[Path, Origin] = field(default_factory=dict)
    keys: dict[Path, Origin] = field(default_factory=dict)
    broken: set[Path] = field(default_factory=set)

    def at(self, path: Path) -> Any:
        """The value there; None where there is none."""
        value = self.value
        for part in path:
            if isinstance(part, str) and isinstance(value, dict):
                value = value.get(part)
            elif isinstance(part, int) and isinstance(value, tuple) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def put(self, path: tuple[str, ...], part: Tree) -> bool:
        """Replace what stands at a path by a tree that was read for it.

        Returns whether it could: what is above must be maps, or nothing yet.
        """
        self.value = {} if self.value is None else self.value
        above = self.value
        for depth, key in enumerate(path[:-1], start=1):
            if not isinstance(above, dict):
                return False
            if above.get(key) is None:
                above[key] = {}
                self.origins[path[:depth]] = part.locate(path)
            above = above[key]
        if not isinstance(above, dict):
            return False
        for old in [p for p in self.origins if p[: len(path)] == path]:
            del self.origins[old]
            self.keys.pop(old, None)
        self.broken = {p for p in self.broken if p[: len(path)] != path} | part.broken
        above[path[-1]] = part.value
        self.origins.update(part.origins)
        self.keys.update(part.keys)
        return True

    def locate(self, path: Path) -> Origin:
        """Where the value stands, or else the nearest thing around it."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, Origin("defaults"))

    def locate_key(self, path: Path) -> Origin:
        """Where the key of a map's entry stands, or else the value."""
        return self.keys.get(path) or self.locate(path)
