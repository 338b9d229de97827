"""YAML 1.2 with positions: what PyYAML takes silently is an error here.

Rules of the house
    1.  Scalars are those of YAML 1.2's core schema: `no`, `on` and `1:30` are text, only `true` and
        `false` are booleans. A number that begins with 0 is refused: YAML 1.1 reads it as octal.
    2.  A key stands once in its map, and keys are text.
    3.  Reading goes on behind a mistake, so that all of them can be told at once. What was wrong
        is left out of the tree and its path kept in `Tree.broken`.
    4.  A message never holds a scalar's text, since it may be a secret.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from turnd.config.problems import Origin, Path, Problem
from turnd.config.tree import Tree

try:
    from yaml._yaml import CParser
except ImportError:  # pragma: no cover - PyYAML was built without libyaml; the tests take both
    CParser = None  # type: ignore[assignment,misc]  # mypy knows no optional classes

MAX_DEPTH = 50
"""Maps and lists within each other; the model has five."""

MAX_NODES = 1_000_000
"""Values in one text; aliases count as often as they are used, which bounds their expansion."""

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_LONGEST_NUMBER = 40
_QUOTED_TEXT = re.compile(r"(?<=alias|nchor|andle) '[^']*'")


class _Scalars(BaseResolver):
    """YAML 1.2's core schema (YAML 1.2.2 section 10.3.2), to a bounded depth.

    Both composers recurse, and libyaml's would end the process.
    """

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Called by the composers before each node."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RecursionError
        super().descend_resolver(current_node, current_index)

    def ascend_resolver(self) -> None:
        """Called by the composers after each node."""
        self._depth -= 1
        super().ascend_resolver()


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _INT.pattern, list("-+0123456789")),
    ("float", _FLOAT.pattern, list("-+.0123456789")),
):
    _Scalars.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


class PureLoader(Reader, Scanner, Parser, Composer, _Scalars):
    """Composes in Python."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _Scalars.__init__(self)


if CParser is not None:

    class FastLoader(CParser, _Scalars):
        """Composes in libyaml, ten times as fast: a reload with many users must not stall."""

        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            _Scalars.__init__(self)

    _LOADER: Any = FastLoader
else:  # pragma: no cover - see above
    _LOADER = PureLoader


def parse_yaml(
    text: str, source: Origin, path: Path = (), loader: Any = None
) -> tuple[Tree, list[Problem]]:
    """Read one YAML text.

    Args:
        text: the text.
        source: a file's name, or an environment variable, for which no positions are told.
        path: where in the configuration the text belongs.
        loader: how to compose it; for tests.
    """
    converter = _Converter(source)
    try:
        node = yaml.compose(text, Loader=loader or _LOADER)
        if node is None:
            converter.tree.origins[path] = converter.whole
        else:
            converter.tree.value = converter.convert(node, path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = _QUOTED_TEXT.sub("", error.problem or "cannot be read")
        converter.fail(converter.origin(mark), path, f"no valid YAML: {what}{_hint(what)}")
    except (ReaderError, UnicodeError):
        converter.fail(_forbidden_character(text, converter), path, "a control character")
    except RecursionError:
        converter.fail(converter.whole, path, "nested too deeply")
    return converter.tree, converter.problems


class _Converter:
    """Turns composed nodes into a tree and collects what is wrong with them."""

    def __init__(self, source: Origin) -> None:
        self.tree = Tree()
        self.problems: list[Problem] = []
        self.whole = source
        self._open: list[int] = []
        self._nodes = 0

    def origin(self, mark: Any) -> Origin:
        if self.whole.is_variable or mark is None:
            return self.whole
        return Origin(self.whole.source, mark.line + 1, mark.column + 1)

    def fail(self, origin: Origin, path: Path, message: str, *, broken: bool = True) -> None:
        self.problems.append(Problem(origin, path, message))
        self.tree.origins.setdefault(path, origin)
        if broken:
            self.tree.broken.add(path)

    def convert(self, node: Node, path: Path) -> Any:
        """The node's plain value; None for what was told as broken."""
        origin = self.tree.origins[path] = self.origin(node.start_mark)
        self._nodes += 1
        if id(node) in self._open:
            self.fail(origin, path, "an alias that contains itself")
        elif len(self._open) >= MAX_DEPTH:  # by aliases, which the composers do not follow
            self.fail(origin, path, "nested too deeply")
        elif self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self.fail(origin, path, f"more than {MAX_NODES} values")
        elif isinstance(node, ScalarNode):
            return self._scalar(node, path)
        elif node.tag not in {_TAG + "map", _TAG + "seq"}:
            self.fail(origin, path, "a tag that is not known here")
        else:
            self._open.append(id(node))
            value: Any
            if isinstance(node, MappingNode):
                value = self._mapping(node, path)
            else:
                value = tuple(self.convert(n, (*path, i)) for i, n in enumerate(node.value))
            self._open.pop()
            return value
        return None

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            origin = self.origin(key_node.start_mark)
            if key_node.tag != _TAG + "str" or not_encodable(key_node.value):
                self.fail(origin, path, "a key is text: put it in quotes", broken=False)
                continue
            key = key_node.value
            entry = (*path, key)
            if key in result:
                first = self.tree.keys[entry]
                message = f"duplicate key, first at line {first.line}"
                message = "duplicate key" if first.is_variable else message
                self.fail(origin, entry, message, broken=False)
                continue
            self.tree.keys[entry] = origin
            result[key] = self.convert(value_node, entry)
        return result

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        text: str = node.value
        kind = node.tag.removeprefix(_TAG)
        if kind in {"int", "float"}:
            return self._number(kind, text, path)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        wrong = "a tag that is not known here" if kind != "str" else not_encodable(text)
        if wrong:
            self.fail(self.tree.origins[path], path, wrong)
        return None if wrong else text

    def _number(self, kind: str, text: str, path: Path) -> int | float | None:
        wrong = "no number, though its tag says so"
        if len(text) > _LONGEST_NUMBER:
            wrong = "too long a number; put it in quotes if it is text"
        elif kind == "int" and re.match(r"[-+]?0[0-9]", text):
            wrong = (
                "a number that begins with 0 is read as octal by some: leave out the 0, or put it "
                "in quotes if it is text"
            )
        else:
            try:
                if kind == "int":
                    return int(text, 0) if text.startswith("0") else int(text)
                return float(re.sub(r"\.(?=(?:inf|nan)$)", "", text.lower()))
            except ValueError:
                pass  # an explicit tag on what is none: !!int one
        self.fail(self.tree.origins[path], path, wrong)
        return None


def not_encodable(text: str) -> str:
    """What is wrong with a text that UTF-8 cannot write (half of a surrogate pair); else empty."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return ""


def _hint(what: str) -> str:
    if "another document" in what:
        return "; one is wanted"
    if "undefined alias" in what:
        return "; text that begins with * stands in quotes"
    if "cannot start any token" in what:
        return "; tabs do not indent, and text that begins with @, ` or % stands in quotes"
    if "mapping values are not allowed" in what:
        return "; is a line indented too far, or a text with ': ' in it without quotes?"
    return ""


def _forbidden_character(text: str, converter: _Converter) -> Origin:
    if converter.whole.is_variable:
        return converter.whole
    match = Reader.NON_PRINTABLE.search(text)
    before = text[: match.start() if match else 0]
    line = before.count("\n")
    return Origin(converter.whole.source, line + 1, len(before) - before.rfind("\n"))
