import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.config import yaml_text
from turnd.config.problems import Origin, Problem
from turnd.config.yaml_text import FastLoader, PureLoader, parse_yaml

FILE = Origin("f", 1, 1)
LOADERS = pytest.mark.parametrize("loader", [PureLoader, FastLoader])


def parse(text: str, loader: Any = None) -> tuple[Any, list[str]]:
    tree, problems = parse_yaml(text, FILE, loader=loader)
    return tree.value, [str(problem) for problem in problems]


@LOADERS
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"),
        ("1:30", "1:30"), ("12:30:45", "12:30:45"), ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"), ("0b11", "0b11"), ("=", "="), ("<<", "<<"), ("0.0.0.0", "0.0.0.0"),
        ("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None), ("", None),
        ("0", 0), ("-1", -1), ("+7", 7), ("0x1F", 31), ("0o17", 15), ("1.5", 1.5), ("1e3", 1000.0),
        (".5", 0.5), ("-.inf", float("-inf")), ("!!str 12", "12"), ('"12"', "12"), ("'no'", "no"),
        ("!!float 1", 1.0), ("udp://0.0.0.0:3478", "udp://0.0.0.0:3478"),
        ("49152-65535", "49152-65535"), ("é", "é"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any, loader: Any) -> None:
    assert parse(f"a: {text}", loader) == ({"a": value}, [])
    assert type(parse(f"a: {text}", loader)[0]["a"]) is type(value)


@LOADERS
def test_not_a_number(loader: Any) -> None:
    value, problems = parse("a: .nan", loader)
    assert value["a"] != value["a"]
    assert problems == []


@LOADERS
def test_collections_and_their_positions(loader: Any) -> None:
    tree, problems = parse_yaml("a:\n  b: [1, x]\n  c: {}\n", FILE, loader=loader)
    assert tree.value == {"a": {"b": (1, "x"), "c": {}}}
    assert problems == []
    assert tree.locate(("a", "b", 1)) == Origin("f", 2, 10)
    assert tree.locate_key(("a", "b")) == Origin("f", 2, 3)
    assert tree.locate_key(("a", "b", 0)) == Origin("f", 2, 7)
    assert tree.locate(("a", "c", "nothing", "there")) == Origin("f", 3, 6)


@LOADERS
def test_every_mistake_is_told_and_the_rest_is_read(loader: Any) -> None:
    text = "a: 1\na: 2\nb: [1, 0123, !x y, !!int one]\n3: c\n? [d]\n: 4\ne: 5\n"
    value, problems = parse(text, loader)
    assert value == {"a": 1, "b": (1, None, None, None), "e": 5}
    assert problems == [
        "f:2:1: a: duplicate key, first at line 1",
        (
            "f:3:8: b[1]: a number that begins with 0 is read as octal by some: leave out "
            "the 0, or "
            "put it in quotes if it is text"
        ),
        "f:3:14: b[2]: a tag that is not known here",
        "f:3:20: b[3]: no number, though its tag says so",
        "f:4:1: a key is text: put it in quotes",
        "f:5:3: a key is text: put it in quotes",
    ]


def test_what_is_broken_is_known() -> None:
    tree, _ = parse_yaml("a: [1, 0123]\nb: 2\n", FILE)
    assert tree.broken == {("a", 1)}


@LOADERS
@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: [1\n", "f:2:1", "no valid YAML: "),
        ("\ta: 1", "f:1:1", "tabs do not indent"),
        ("a: @s3cret", "f:1:4", "stands in quotes"),
        ("a: *s3cret", "f:1:4", "text that begins with * stands in quotes"),
        ("a: !s3cret!x", "f:1:4", "no valid YAML: found undefined tag handle"),
        ("a: s3: cret", "f:1:6", "without quotes?"),
        ("--- 1\n--- 2", "f:2:1", "another document; one is wanted"),
        ("a:\n  b: 1\n c\x07: 2", "f:3:3", "a control character"),
        ("a: &x [*x]", "f:1:4", "an alias that contains itself"),
        ("a: !!binary aGk=", "f:1:4", "a tag that is not known here"),
        ("a: !!set {b}", "f:1:4", "a tag that is not known here"),
        ("a: " + "1" * 50, "f:1:4", "too long a number"),
    ],
)
def test_mistakes_have_a_place_and_show_no_text(
    text: str, where: str, what: str, loader: Any
) -> None:
    _, problems = parse(text, loader)
    assert len(problems) == 1
    assert problems[0].startswith(f"{where}: ")
    assert what in problems[0]
    assert "s3cret" not in problems[0]


@LOADERS
def test_half_a_surrogate_pair_is_no_text(loader: Any) -> None:
    for text in ('a: "\\ud800"', '"\\ud800": a'):
        _, problems = parse(text, loader)
        assert len(problems) == 1
    assert parse("a: \ud800", loader)[1] == ["f:1:4: a control character"]


@LOADERS
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        "[" * 51 + "]" * 51,
        "{a: " * 60 + "}" * 60,
        "- " * 60 + "x",
        "".join(f"{' ' * depth}a:\n" for depth in range(60)),
        "? " * 60 + "x",
    ],
)
def test_deep_nesting_is_an_error(text: str, loader: Any) -> None:
    assert parse(text, loader) == (None, ["f:1:1: nested too deeply"])


@LOADERS
def test_nesting_to_the_bound_is_none(loader: Any) -> None:
    text = "".join(f"{' ' * depth}a:\n" for depth in range(49))
    assert parse(text, loader)[1] == []


def test_aliases_are_values_of_their_own_but_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse("a: &x {b: 1}\nc: *x\n")[0] == {"a": {"b": 1}, "c": {"b": 1}}
    monkeypatch.setattr(yaml_text, "MAX_NODES", 50)
    bomb = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n"
    _, problems = parse(bomb)
    assert [p for p in problems if "more than 50 values" in p] == problems
    assert len(problems) == 1


def test_a_variable_has_no_positions() -> None:
    tree, problems = parse_yaml("{a: 1, a: 2}", Origin("TURND_X"), ("x",))
    assert tree.value == {"a": 1}
    assert problems == [Problem(Origin("TURND_X"), ("x", "a"), "duplicate key")]
    assert parse_yaml("\x01", Origin("TURND_X"))[1][0].origin == Origin("TURND_X")
    assert parse_yaml("[", Origin("TURND_X"))[1][0].origin == Origin("TURND_X")


def test_aliases_do_not_nest_deeper() -> None:
    deep = "[" * 40
    text = f"a: &a {deep}{deep.replace('[', ']')}\nb: {deep}*a{deep.replace('[', ']')}\n"
    (problem,) = parse(text)[1]
    assert problem.endswith(": nested too deeply")


CHARACTERS = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])
TEXT = st.text(CHARACTERS)
# YAML 1.2 section 7.4.2: a key has at most 1024 characters, and JSON may write six for one.
KEY = st.text(CHARACTERS, max_size=150)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4),
    max_leaves=10,
)


def as_read(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(as_read(item) for item in value)
    if isinstance(value, dict):
        return {key: as_read(item) for key, item in value.items()}
    return value


@LOADERS
@given(value=PLAIN)
def test_what_json_can_say_is_read_as_it_was_meant(value: Any, loader: Any) -> None:
    assert parse(json.dumps({"a": value}), loader) == ({"a": as_read(value)}, [])


@LOADERS
@given(text=st.text())
def test_any_text_is_read_or_told(text: str, loader: Any) -> None:
    tree, problems = parse_yaml(text, FILE, loader=loader)
    assert problems or tree.locate(()).source == "f"
    assert all("\n" not in str(problem) for problem in problems)
