"""Secrets from files: `secrets_file`, `redis_file` and `users_file` of every `auth` map.

What a file holds is put into the tree at the key that it stands for, with the file's own positions.
A key and its `_file` exclude each other, but a variable of the environment wins over the
configuration's file. An empty file is an error: a server that nobody can use, or a door left open,
must not come from a mount that failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from turnd.config.problems import Origin, Path, Problem, format_path
from turnd.config.tree import Tree
from turnd.config.yaml_text import parse_yaml

if TYPE_CHECKING:
    from pathlib import Path as FileName

LARGEST_FILE = 64 << 20
"""Bytes; more is a wrong file, such as a device."""


class UnreadableError(Exception):
    """A file cannot be read as text; the message says why."""


def read_text(path: FileName, largest: int = LARGEST_FILE) -> str:
    """A whole file of UTF-8 text.

    Raises:
        UnreadableError: not there, not allowed, too large, not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise UnreadableError("cannot be read: no file's name") from None
    if len(content) > largest:
        raise UnreadableError(f"cannot be read: larger than {largest >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"cannot be read: not UTF-8 (line {line})") from None


def apply_secret_files(tree: Tree, base: FileName) -> list[Problem]:
    """Read every secret file that the tree names; returns what is wrong with them."""
    problems: list[Problem] = []
    realms = tree.at(("realms",))
    names = realms if isinstance(realms, dict) else ()
    for path in [("auth",), *(("realms", name, "auth") for name in names)]:
        for key, parse in _PARSERS.items():
            problems += _apply(tree, base, (*path, key), parse)
    return problems


Parser = Callable[[str, Origin, tuple[str, ...]], tuple[Tree, list[Problem]]]


def _apply(tree: Tree, base: FileName, key: tuple[str, ...], parse: Parser) -> list[Problem]:
    file_key = (*key[:-1], f"{key[-1]}_file")
    name = tree.at(file_key)
    if not isinstance(name, str) or not name.strip():
        return []
    origin = tree.locate(file_key)
    given = tree.at(key)
    rival = tree.locate(key)
    if given or (given is not None and rival.is_variable):  # `secrets: []` in a file says nothing
        if rival.is_variable and not origin.is_variable:
            return []
        if rival.is_variable == origin.is_variable:
            message = f"excludes {format_path(key)}, which is given as well"
            return [Problem(origin, file_key, message)]
    path = base / name
    try:
        text = read_text(path)
    except UnreadableError as error:
        return [Problem(origin, file_key, f"{path} {error}")]
    if not text.strip():
        return [Problem(origin, file_key, f"{path} is empty")]
    part, problems = parse(text, Origin(str(path), 1, 1), key)
    tree.put(key, part)
    return problems


def _parse_users(text: str, source: Origin, path: Path) -> tuple[Tree, list[Problem]]:
    tree, problems = parse_yaml(text, source, path)
    if not problems and not tree.value:
        tree.broken.add(path)
        problems = [Problem(source, path, "no users: lines of name: password are wanted")]
    return tree, problems


def _parse_secrets(text: str, source: Origin, path: Path) -> tuple[Tree, list[Problem]]:
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    secrets = [(number, line) for number, line in lines if line]
    tree = Tree(tuple(secret for _, secret in secrets), {path: source})
    for index, (number, _) in enumerate(secrets):
        tree.origins[*path, index] = Origin(source.source, number, 1)
    return tree, []


def _parse_redis(text: str, source: Origin, path: Path) -> tuple[Tree, list[Problem]]:
    tree = Tree(text.strip(), {path: source})
    if "\n" in text.strip():
        tree = Tree(None, {path: source}, broken={path})
        return tree, [Problem(source, path, "one line is wanted")]
    return tree, []


_PARSERS: dict[str, Parser] = {
    "users": _parse_users,
    "secrets": _parse_secrets,
    "redis": _parse_redis,
}
