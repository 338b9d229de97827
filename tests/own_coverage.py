"""Proves that each core module is covered to the last line by its own test file.

Reads what `pytest --cov --cov-context=test` has left in `.coverage`: a line counts as covered when
a test of `tests/P/test_M.py` ran it (for `turnd/P/M.py`), or when importing the module did.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import coverage

PACKAGES = ("stun", "turn", "allocations", "auth")
ROOT = Path(__file__).parent.parent
AT_IMPORT = r"^$"
EXCUSE = re.compile(r"#\s*pragma: no cover\b(?P<reason>.*)$", re.MULTILINE)


def modules() -> list[Path]:
    """Every module of the core packages."""
    return sorted(m for package in PACKAGES for m in (ROOT / "turnd" / package).rglob("*.py"))


def test_file_of(module: Path) -> Path:
    """`turnd/stun/message.py` → `tests/stun/test_message.py`, relative to the root."""
    relative = module.relative_to(ROOT / "turnd")
    return Path("tests") / relative.with_name(f"test_{relative.name}")


def uncovered(measured: coverage.Coverage, module: Path) -> str:
    """The line numbers that the module's own tests leave out, such as `12-14, 40`; or nothing."""
    own_tests = rf"^{re.escape(str(test_file_of(module)))}::"
    measured.get_data().set_query_contexts([AT_IMPORT, own_tests])
    _, statements, _, _, missing = measured.analysis2(str(module))
    if statements and not (ROOT / test_file_of(module)).exists() and module.name != "__init__.py":
        return f"all ({test_file_of(module)} is not there)"
    return missing


def unexcused(module: Path) -> list[str]:
    """Lines that are taken out of the count without a reason behind the pragma."""
    excuses = EXCUSE.finditer(module.read_text())
    return [e[0] for e in excuses if not re.match(r" - \w", e["reason"])]


def main() -> int:
    """Print what is not covered; 0 when nothing is."""
    measured = coverage.Coverage()
    measured.load()
    complaints = []
    for module in modules():
        name = module.relative_to(ROOT)
        if lines := uncovered(measured, module):
            complaints.append(f"{name}: not covered by its own tests: {lines}")
        complaints += [f"{name}: no reason given: {excuse}" for excuse in unexcused(module)]
    for complaint in complaints:
        print(complaint)  # noqa: T201 - a command's output
    if not complaints:
        print(f"own coverage: 100 % of {len(modules())} core modules")  # noqa: T201 - the same
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
