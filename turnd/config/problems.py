"""What is wrong with a configuration, and where: `file:line:column: path: what is wrong`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str | int, ...]
"""From the top of the configuration to a value: keys of maps and indexes of lists."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a value was written: a file with line and column (from 1), or a variable's name."""

    source: str
    line: int = 0
    column: int = 0

    @property
    def is_variable(self) -> bool:
        """Whether this is an environment variable. A file's text has lines."""
        return self.line == 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. Never holds the text of a secret."""

    origin: Origin
    path: Path
    message: str

    def __str__(self) -> str:
        where = f"{self.origin}: {format_path(self.path)}" if self.path else str(self.origin)
        return _one_line(f"{where}: {self.message}")


class ConfigError(ValueError):
    """A configuration that cannot be used; `str` has one line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def format_path(path: Path) -> str:
    """`relay.addresses[0]`, `realms["a.example"].listen`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def _one_line(text: str) -> str:
    """Whatever stands in a file, its problem stays one line and leaves the terminal alone."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
