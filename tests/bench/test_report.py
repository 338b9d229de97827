from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import report
from bench.figures import Bar, Figure

if TYPE_CHECKING:
    from pathlib import Path


def test_a_table_has_a_line_a_figure() -> None:
    figures = [
        Figure("up", "5.00 µs", "4.00 µs", 1.25, Bar(1.15), "1.33 (uring)"),
        Figure("growth", "1.20", "1.50", 1.5, Bar(1.4, is_least=False)),
        Figure("down", "-", "-", None),
    ]
    assert report.table(figures).splitlines()[2:] == [
        "| up | 5.00 µs | 4.00 µs | 1.25 | ≥ 1.15 | yes | 1.33 (uring) |",
        "| growth | 1.20 | 1.50 | 1.50 | ≤ 1.4 | **no** | - |",
        "| down | - | - | - | - | - | - |",
    ]


def test_a_section_names_the_engine() -> None:
    assert report.section("native", []).startswith("## The native engine\n\n| |")


def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_between_marks(page, "new\n")
    assert page.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"


@pytest.mark.parametrize("text", ["", report.BEGIN, f"{report.END}{report.BEGIN}"])
def test_a_page_without_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(report.NoMarksError):
        report.write_between_marks(page, "new")
    assert page.read_text() == text
