"""`python -m turnd.config [FOLDER]` writes what is made from the model into the repository."""

from __future__ import annotations

import sys
from pathlib import Path

from turnd.config.document import render_schema, render_yaml, with_reference


def write(folder: Path) -> list[Path]:
    """Write `config.yaml`, `config.schema.json` and the table of `docs/configuration.md`.

    Returns the files that were written.
    """
    guide = folder / "docs" / "configuration.md"
    texts = {
        folder / "config.yaml": render_yaml(),
        folder / "config.schema.json": render_schema(),
        guide: with_reference(guide.read_text("utf-8")),
    }
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    return list(texts)


if __name__ == "__main__":
    write(Path(*sys.argv[1:2]))
