"""From text to `Config`, or to everything that is wrong with it at once.

Text is read into a tree with positions, the environment and secret files are put into it, and the
model validates it. What is wrong is then taken out, so that rules over several keys can be checked
on what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FileName
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from turnd.config.checks import CHECKS
from turnd.config.environment import apply_environment
from turnd.config.fields import BASE_KEY
from turnd.config.keys import is_secret, type_at
from turnd.config.messages import describe, unknown_key
from turnd.config.model import Config
from turnd.config.problems import ConfigError, Origin, Path, Problem
from turnd.config.secret_files import UnreadableError, apply_secret_files, read_text
from turnd.config.tree import Tree
from turnd.config.yaml_text import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PLACES = (FileName("config.yaml"), FileName("/etc/turnd/config.yaml"))
"""Where the configuration is looked for when no file is named, in this order."""

_PASSES = 3  # one finds, one checks what is left; the third is for errors hidden behind errors


def find_config_file(explicit: FileName | None) -> FileName | None:
    """The file to load: the one that was named, else the first that exists, else None (defaults).

    A named file is not looked at: that it is missing is for `load` to tell.
    """
    if explicit is not None:
        return explicit
    return next((place for place in PLACES if _exists(place)), None)


def _exists(path: FileName) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return True  # to start with defaults beside a file that may not be read would be a surprise


def load(path: FileName | None, environ: Mapping[str, str]) -> Config:
    """The configuration of a file (None: the defaults) and the environment.

    Raises:
        ConfigError: with every problem there is.
    """
    if path is None:
        return _finish(Tree({}), [], environ, FileName.cwd())
    try:
        text = read_text(path)
    except UnreadableError as error:
        raise ConfigError([Problem(Origin(str(path)), (), str(error))]) from None
    return load_text(text, str(path), environ)


def load_text(
    text: str, name: str, environ: Mapping[str, str], base: FileName | None = None
) -> Config:
    """The configuration of a text and the environment.

    Args:
        text: YAML.
        name: what errors call it.
        environ: the environment's variables.
        base: where relative file names begin; by default the folder of `name`.

    Raises:
        ConfigError: with every problem there is.
    """
    tree, problems = parse_yaml(text, Origin(name, 1, 1))
    folder = FileName(name).parent if base is None else base
    return _finish(tree, problems, environ, FileName.cwd() / folder)


def _finish(
    tree: Tree, problems: list[Problem], environ: Mapping[str, str], base: FileName
) -> Config:
    unreadable = () in tree.broken
    name = tree.locate(()).source
    if tree.value is None or isinstance(tree.value, dict):
        problems += apply_environment(tree, environ)
        problems += apply_secret_files(tree, base)
    validation = _Validation(tree, base, set(tree.broken) - {()})
    config = validation.run()
    problems += validation.problems
    if config is not None and not unreadable:
        problems += validation.check(config)
    if problems or config is None:
        raise ConfigError(_in_order(problems, name))
    return config


def _in_order(problems: Iterable[Problem], name: str) -> list[Problem]:
    """The file itself from top to bottom, then files of secrets, then variables."""
    return sorted(
        dict.fromkeys(problems),
        key=lambda p: (p.origin.is_variable, p.origin.source != name, p.origin),
    )


@dataclass(slots=True)
class _Validation:
    """The model's view of a tree, without what is broken in it."""

    tree: Tree
    base: FileName
    broken: set[Path]
    problems: list[Problem] = field(default_factory=list)
    kept: dict[Path, list[int]] = field(default_factory=dict)
    """Of lists that lost entries: the indexes that the others had."""

    def run(self) -> Config | None:
        """The configuration of what is not broken; None if there is no such."""
        for _ in range(_PASSES):
            self.kept.clear()
            value = self._prune(self.tree.value, (), ())
            try:
                return Config.model_validate(value, context={BASE_KEY: self.base})
            except ValidationError as error:
                for detail in error.errors(include_url=False):
                    self._add(detail, value)
            if () in self.broken:
                break
        return None

    def check(self, config: Config) -> list[Problem]:
        """Contradictions between keys that are not broken themselves."""
        return [
            Problem(self.tree.locate(path), path, message)
            for check in CHECKS
            if not any(self._touches(path) for path in check.depends)
            for path, message in ((self._original(p), m) for p, m in check.find(config))
        ]

    def _touches(self, path: Path) -> bool:
        return any(b[: len(path)] == path or path[: len(b)] == b for b in self.broken)

    def _prune(self, value: Any, path: Path, new: Path) -> Any:
        if isinstance(value, dict):
            return {
                key: self._prune(item, (*path, key), (*new, key))
                for key, item in value.items()
                if (*path, key) not in self.broken
            }
        if isinstance(value, tuple):
            kept = [i for i in range(len(value)) if (*path, i) not in self.broken]
            if len(kept) != len(value):
                self.kept[new] = kept
            return tuple(self._prune(value[i], (*path, i), (*new, n)) for n, i in enumerate(kept))
        return value

    def _original(self, path: Path) -> Path:
        """Where in the tree a path of the pruned value is."""
        parts: list[str | int] = []
        for depth, part in enumerate(path):
            kept = self.kept.get(path[:depth])
            parts.append(kept[part] if kept and isinstance(part, int) else part)
        return tuple(parts)

    def _add(self, detail: Any, value: Any) -> None:
        """Take in one error of the model, and take out what it is about."""
        path, exists = _as_written(detail["loc"], value)
        original = self._original(path)
        if detail["type"] == "too_short" and self.tree.at(original):
            self.broken.add(original)  # its entries are broken, and told one by one
            return
        if detail["type"] == "missing" and original in self.broken:
            self.broken.add(original[:-1])  # it was taken out
            return
        self.broken.add(original if exists else original[:-1])
        if detail["type"] == "extra_forbidden":
            origin, message = self.tree.locate_key(original), unknown_key(original)
        else:
            annotation = type_at(original)
            origin, message = self.tree.locate(original), describe(detail, annotation)
            if "[key]" in detail["loc"]:
                origin = self.tree.locate_key(original)
            elif detail["input"] is None and exists and is_secret(type_at(original[:-1])):
                # A forgotten colon makes one key of name and password: it must not be shown.
                origin, original = self.tree.locate_key(original), original[:-1]
                message = "an entry without password; name: password is wanted"
        self.problems.append(Problem(origin, original, message))


def _as_written(loc: tuple[int | str, ...], value: Any) -> tuple[Path, bool]:
    """An error's path as the text has it, and whether something stands there.

    The model sees a single map where a list of maps may be as a list of one.
    """
    path: list[int | str] = []
    for part in loc:
        if part == "[key]":
            break
        if isinstance(value, dict) and isinstance(part, int):
            continue
        path.append(part)
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return tuple(path), False
    return tuple(path), True
