"""docs/standards.md names files, functions and tests that exist, in tables that can be read."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs/standards.md").read_text()
HEADER = "| section | requirement | code | tests |"
FILE = re.compile(r"`((?:turnd|native|tests|docs|systemd|bench)/[^`:]+\.\w+)(?:::(\w+))?`")
NO_RFC = 100_000
"""Stands behind all RFCs."""
DEFINITION = r"\b(?:def|class|fn|struct|enum|const|mod|static)\s+{0}\b|^\s*{0}\b[^=\n]*="
"""How a name is brought up in Python or in Rust."""


class Row(NamedTuple):
    """One requirement."""

    rfc: int
    section: str
    requirement: str
    code: str
    tests: str


def rows() -> list[Row]:
    found = []
    for part in DOCUMENT.split("\n## ")[1:]:
        number = re.match(r"RFC (\d+)|The \w+ protocol", part)
        assert number, part[:40]
        lines = [line for line in part.splitlines() if line.startswith("|")]
        assert lines[:1] == [HEADER], part[:40]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
        assert all(len(each) == 4 for each in cells), [each for each in cells if len(each) != 4]
        found += [Row(int(number[1] or NO_RFC), *each) for each in cells]
    return found


@lru_cache
def text_of(file: str) -> str:
    return (ROOT / file).read_text()


def exists(file: str, name: str) -> bool:
    """Whether there is the file, and in it the name where one is given."""
    if not (ROOT / file).is_file():
        return False
    return not name or bool(re.search(DEFINITION.format(name), text_of(file), re.MULTILINE))


def test_the_tables_are_in_the_order_of_their_numbers() -> None:
    numbers = [each.rfc for each in rows()]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("rfc", sorted({row.rfc for row in rows()}))
def test_what_a_table_names_exists(rfc: int) -> None:
    missing = [
        f"{file}::{name}"
        for row in rows()
        if row.rfc == rfc
        for file, name in FILE.findall(row.code + row.tests)
        if not exists(file, name)
    ]
    assert not missing


def test_every_row_says_where_and_how_it_is_tested_or_why_not() -> None:
    for row in rows():
        departs = "**departs**" in row.requirement
        assert FILE.search(row.code) or departs, row
        assert FILE.search(row.tests) or departs, row
        assert re.search(r"\b(MUST|SHOULD|MAY|RECOMMENDED|says)\b", row.requirement), row


def test_a_name_that_does_not_exist_is_found_out() -> None:
    assert exists("turnd/stun/message.py", "decode_untrusted")
    assert exists("turnd/stun/message.py", "TRANSACTION_ID_SIZE")
    assert exists("native/relay-core/src/wire/binding.rs", "plain_binding_untrusted")
    assert not exists("turnd/stun/message.py", "decode_trusted")
    assert not exists("turnd/stun/nothing.py", "")
