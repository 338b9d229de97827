"""Keys from the environment: `TURND_RELAY__PORTS=50000-50100` sets `relay.ports`.

A value is the text itself where the key holds one text, and YAML for all else (numbers, lists,
maps). It replaces what the file says; a longer name wins over a shorter one. A variable that begins
like ours and is none is an error, since a slip would leave a default in force unseen.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from turnd.config.keys import Key, fixed_keys
from turnd.config.messages import guess
from turnd.config.problems import Origin, Problem
from turnd.config.tree import Tree
from turnd.config.yaml_text import not_encodable, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "TURND_"

_OF_KUBERNETES = re.compile(
    r"TURND_(?!.*__)(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_OF_KUBERNETES_BY_VALUE = re.compile(r"(?:tcp|udp|sctp)://\S+")  # TURND_PORT=udp://10.0.0.1:3478


def variable(path: tuple[str, ...]) -> str:
    """The variable that sets a key."""
    return PREFIX + "__".join(path).upper()


def apply_environment(tree: Tree, environ: Mapping[str, str]) -> list[Problem]:
    """Put what the environment says into the tree; returns what is wrong with it."""
    names = {variable(path): key for path, key in fixed_keys().items() if _settable(key)}
    problems: list[Problem] = []
    ours = [name for name, text in environ.items() if _is_ours(name, text)]
    for name in sorted(ours, key=lambda name: (name.count("__"), name)):
        key = names.get(name)
        if key is None:
            problems.append(Problem(Origin(name), (), _unknown(name, names)))
        else:
            problems += _set(tree, key, Origin(name), environ[name])
    return problems


def _is_ours(name: str, text: str) -> bool:
    """Not the build's switch, nor what Kubernetes sets for services whose names begin like us."""
    if not name.startswith(PREFIX) or name == "TURND_REQUIRE_NATIVE":
        return False
    if name.endswith("PORT") and "__" not in name and _OF_KUBERNETES_BY_VALUE.fullmatch(text):
        return False
    return not _OF_KUBERNETES.fullmatch(name)


def _settable(key: Key) -> bool:
    return key.path[0] != "realms" or len(key.path) == 1


def _unknown(name: str, names: Mapping[str, Key]) -> str:
    parts = name.split("__")
    for length in range(len(parts) - 1, 0, -1):
        whole = names.get("__".join(parts[:length]).upper())
        if whole is not None and whole.section is None:
            return f"no such key: {variable(whole.path)} takes the whole value, as YAML"
    return f"no such key{guess(get_close_matches(name.upper(), names, n=1, cutoff=0.7))}"


def _set(tree: Tree, key: Key, origin: Origin, text: str) -> list[Problem]:
    problems: list[Problem] = []
    if not_encodable(text):
        return [Problem(origin, key.path, not_encodable(text))]
    if key.is_text:
        empty = key.is_optional and text in {"", "null", "~"}
        part = Tree(None if empty else text, {key.path: origin})
    else:
        part, problems = parse_yaml(text, origin, key.path)
    before = tree.locate(key.path[:-1])
    if not tree.put(key.path, part):
        above = variable(key.path[:-1])
        problems.append(Problem(origin, key.path, f"{before} has no map there; set {above}"))
    return problems
