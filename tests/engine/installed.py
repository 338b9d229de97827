"""Which engines the tests have before them."""

from __future__ import annotations

from importlib.util import find_spec

HAS_NATIVE = find_spec("turnd._native") is not None
"""Where cargo is, `make test` sees to it that there is one."""

ENGINES = ("portable", "native") if HAS_NATIVE else ("portable",)
