from pathlib import Path

from turnd.config.__main__ import write
from turnd.config.document import KEYS_BEGIN, KEYS_END, render_reference, render_schema, render_yaml


def test_the_files_are_written(tmp_path: Path) -> None:
    guide = tmp_path / "docs" / "configuration.md"
    guide.parent.mkdir()
    guide.write_text(f"# Configuration\n{KEYS_BEGIN}\n{KEYS_END}\n")
    files = write(tmp_path)
    assert files == [tmp_path / "config.yaml", tmp_path / "config.schema.json", guide]
    assert files[0].read_text() == render_yaml()
    assert files[1].read_text() == render_schema()
    assert render_reference() in guide.read_text()
