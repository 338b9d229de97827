"""Printing data: JSON, a table where a terminal is looked at, or plain columns."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON."
)


def print_json(data: Any) -> None:
    """One JSON value, indented; what would steer a terminal is escaped, other letters are not."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    plain = (c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    click.echo("".join(plain))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal, else aligned columns under their names."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, cells)
        return
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    for line in [columns, *cells]:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def printable(text: str) -> str:
    """Text on one line that leaves the terminal alone, whatever a user is called."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # Only a terminal needs rich, and it takes 40 ms to load.
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
