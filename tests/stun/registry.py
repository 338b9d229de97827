"""Test data: what IANA has registered, and what is told of each vector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent

IANA: dict[str, dict[str, str]] = json.loads((_HERE / "iana.json").read_text("utf-8"))
VECTORS: list[dict[str, Any]] = json.loads((_HERE / "vectors.json").read_text("utf-8"))["vectors"]
