"""Redis commands answered from tables in memory, for the schemas' own tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Records:
    """What Redis would hold; `asked` keeps the commands in order."""

    strings: dict[bytes, bytes] = field(default_factory=dict)
    hashes: dict[bytes, dict[bytes, bytes]] = field(default_factory=dict)
    sets: dict[bytes, set[bytes]] = field(default_factory=dict)
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    async def execute(self, command: str, key: bytes) -> Any:
        self.asked.append((command, key))
        match command:
            case "GET":
                return self.strings.get(key)
            case "HGETALL":
                return self.hashes.get(key, {})
            case _:
                assert command == "SMEMBERS"
                return self.sets.get(key, set())
