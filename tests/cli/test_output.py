from __future__ import annotations

import json
import sys

import pytest

from turnd.cli.output import print_json, print_table, printable

ROWS = [["alice", "5"], ["\x1b[31mevil\n", ""], ["[bold]x", "10"]]


class TestTable:
    def test_plain_columns_where_nobody_looks(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_table(["USER", "QUOTA"], ROWS)

        assert capsys.readouterr().out.splitlines() == [
            "USER            QUOTA",
            "alice           5",
            "\\x1b[31mevil\\n",
            "[bold]x         10",
        ]

    def test_a_table_on_a_terminal(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

        print_table(["USER", "QUOTA"], ROWS)

        printed = capsys.readouterr().out
        assert "evil" in printed
        assert "[bold]x" in printed, "names are no markup"
        assert "\x1b[31m" not in printed

    def test_without_rows_the_names_of_the_columns(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        print_table(["A", "B"], [])

        assert capsys.readouterr().out == "A  B\n"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"user": "ärger\n"})

    printed = capsys.readouterr().out
    assert json.loads(printed) == {"user": "ärger\n"}
    assert "ärger" in printed


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain ä", "plain ä"), ("a\nb", "a\\nb"), ("\x1b[0m", "\\x1b[0m"), ("\u2028", "\\u2028")],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_json_leaves_the_terminal_alone_and_says_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ["Jürgen", "\x1b[31m", "\x9b31m", "\x7f", "\u202egro", "\ud800", "a\nb", "\U000e0041"]

    print_json(names)

    printed = capsys.readouterr().out
    assert json.loads(printed) == names
    assert "Jürgen" in printed
    assert all(c.isprintable() or c == "\n" for c in printed)
