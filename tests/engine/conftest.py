from __future__ import annotations

from tests.engine.installed import HAS_NATIVE

collect_ignore = [] if HAS_NATIVE else ["test_native.py"]
