"""Where a value of a configuration was written: for what is found to be wrong after loading."""

from __future__ import annotations

from pathlib import Path as FileName
from typing import TYPE_CHECKING

from turnd.config.environment import apply_environment
from turnd.config.problems import Origin, Path
from turnd.config.secret_files import UnreadableError, apply_secret_files, read_text
from turnd.config.tree import Tree
from turnd.config.yaml_text import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping


def origin_of(path: FileName | None, environ: Mapping[str, str], key: Path) -> Origin:
    """Where the value at `key` stands, or else the nearest thing around it.

    Args:
        path: the configuration's file; None: the defaults.
        environ: the environment's variables.
        key: as in `Problem.path`; a list may be written as its only entry.
    """
    tree, base = Tree({}), FileName.cwd()
    if path is not None:
        base = FileName.cwd() / path.parent
        try:
            tree, _ = parse_yaml(read_text(path), Origin(str(path), 1, 1))
        except UnreadableError:
            return Origin(str(path))
    apply_environment(tree, environ)
    apply_secret_files(tree, base)
    if not isinstance(tree.at(key[:1]), tuple):
        key = tuple(part for part in key if isinstance(part, str))
    return tree.locate(key)
