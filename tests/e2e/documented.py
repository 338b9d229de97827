"""What the documentation shows, to be run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def snippet(document: str, language: str, changes: dict[str, str]) -> str:
    """The only block of a language in a document, with what belongs to the reader's host replaced.

    Raises:
        AssertionError: there is another number of blocks, or one lacks what is to be replaced.
    """
    block = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    blocks = block.findall((DOCS / document).read_text())
    assert len(blocks) == 1, blocks
    text: str = blocks[0]
    for shown, meant in changes.items():
        assert shown in text, shown
        text = text.replace(shown, meant)
    return text
