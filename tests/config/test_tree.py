from turnd.config.problems import Origin
from turnd.config.tree import Tree
from turnd.config.yaml_text import parse_yaml

FILE = Origin("f", 1, 1)


def test_at_finds_values() -> None:
    tree, _ = parse_yaml("a: [{b: 1}]", FILE)
    assert tree.at(("a", 0, "b")) == 1
    assert tree.at(("a", 1)) is None
    assert tree.at(("a", "b")) is None
    assert tree.at(("a", 0, "b", "c")) is None


def test_put_replaces_a_part_and_its_positions() -> None:
    tree, _ = parse_yaml("a:\n  b: {c: 0123}\nd: x", FILE)
    part = Tree("new", {("a", "b"): Origin("TURND_A__B")})
    assert tree.put(("a", "b"), part)
    assert tree.value == {"a": {"b": "new"}, "d": "x"}
    assert tree.broken == set()
    assert tree.locate(("a", "b", "c")) == Origin("TURND_A__B")


def test_put_makes_the_maps_above() -> None:
    tree = Tree(None)
    part = Tree(1, {("a", "b"): Origin("TURND_A__B")})
    assert tree.put(("a", "b"), part)
    assert tree.value == {"a": {"b": 1}}
    assert tree.locate(("a",)) == Origin("TURND_A__B")
    assert tree.locate(("z",)) == Origin("defaults")


def test_put_does_not_go_through_lists_or_texts() -> None:
    tree, _ = parse_yaml("a: [1]\nb: x", FILE)
    assert not tree.put(("a", "b"), Tree(1))
    assert not tree.put(("b", "c", "d"), Tree(1))
