import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from turnd.config import Config, ConfigError, load_text
from turnd.config.document import (
    KEYS_BEGIN,
    KEYS_END,
    WIDTH,
    render_reference,
    render_schema,
    render_yaml,
    with_reference,
)
from turnd.config.keys import fixed_keys
from turnd.config.problems import Origin, format_path
from turnd.config.yaml_text import parse_yaml

ROOT = Path(__file__).parents[2]
BEHIND_US = "{listen: ['auto://0.0.0.0'], tls: {certificate: a, key: b}, passthrough: %s}"
SCHEMA = json.loads(render_schema())


def as_json(text: str) -> Any:
    """A YAML text as a JSON Schema sees it."""
    tree, problems = parse_yaml(text, Origin("x", 1, 1))
    assert not problems
    return json.loads(json.dumps(tree.value))


def test_the_files_are_made_from_the_model() -> None:
    remake = "out of date: run python -m turnd.config"
    assert (ROOT / "config.yaml").read_text() == render_yaml(), remake
    assert (ROOT / "config.schema.json").read_text() == render_schema(), remake
    guide = (ROOT / "docs" / "configuration.md").read_text()
    assert guide == with_reference(guide), remake


def test_config_yaml_is_the_defaults_and_complete() -> None:
    assert load_text(render_yaml(), "config.yaml", {}) == Config()
    written = as_json(render_yaml())
    for path, key in fixed_keys().items():
        value = written
        for part in path if path[0] not in {"tls", "passthrough"} else path[:1]:
            assert part in value, path
            value = value[part]
        assert key.info.description


def test_config_yaml_fits_the_page() -> None:
    assert max(map(len, render_yaml().splitlines())) <= WIDTH


def test_the_examples_are_valid() -> None:
    examples = 0
    for path, key in fixed_keys().items():
        for example in key.info.examples or ():
            examples += 1
            value: Any = example
            for part in reversed(path):
                value = {part: value}
            if "auto://" in str(example) or path == ("passthrough",):
                value["tls"] = {"certificate": "a", "key": "b"}
                value["listen"] = ["auto://0.0.0.0:443"]
            load_text(json.dumps(value), "x", {})
            jsonschema.validate(value, SCHEMA)
    assert examples > 5


def test_the_examples_of_config_yaml_are_as_they_would_be_written() -> None:
    lines = [line.strip() for line in render_yaml().splitlines()]
    examples = [line.removeprefix("# Example: ") for line in lines if "# Example:" in line]
    assert "tls: {certificate: fullchain.pem, key: privkey.pem}" in examples
    assert "users: {alice: s3cret}" in examples
    for example in examples:
        assert as_json(example)


def test_the_schema_is_a_schema_and_takes_the_defaults() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(as_json(render_yaml()), SCHEMA)
    jsonschema.validate({}, SCHEMA)
    assert SCHEMA["properties"]["relay"]["anyOf"][1] == {"type": "null"}
    assert SCHEMA["$defs"]["RelaySection"]["properties"]["ports"]["default"] == "49152-65535"
    assert SCHEMA["properties"]["listen"]["default"] == [str(e) for e in Config().listen]


@pytest.mark.parametrize(
    "text",
    [
        "listn: []",
        "listen: [sctp://0.0.0.0]",
        "listen: []",
        "relay: {ports: many}",
        "relay: {port_rest: soon}",
        "log: {level: inf}",
        "auth: {users: [x]}",
        "auth: {strict_expiry: no}",
        "limits: {allocations: -1}",
        "tls: {certificate: a}",
        "realms: {b: {sni: x}}",
        "admin: {listen: 9641}",
        "passthrough: {proxy_protocol: true}",
        "passthrough: 127.0.0.1",
        "proxy_protocol: {trusted: []}",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(text: str) -> None:
    with pytest.raises(ConfigError):
        load_text(text, "x", {})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(as_json(text), SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "tls: {certificate: a, key: b}",
        "tls: [{certificate: a, key: b}]",
        "auth:",
        "relay: {ports: 50000, port_rest: 10m}",
        "listen: ['udp://[::1]', tcp://127.0.0.1:0]",
        "{tls: {certificate: a, key: b}, listen: [dtls://127.0.0.1, tls://127.0.0.1:5349]}",
        "{tls: {certificate: a, key: b}, listen: [auto://127.0.0.1]}",
        "realms: {b: {listen: [udp://127.0.0.1], auth: {secrets: [x]}, peers: null}}",
        "proxy_protocol: {trusted: [10.0.0.0/8, 2001:db8::1]}",
        BEHIND_US % "127.0.0.1:8443",
        BEHIND_US % "{to: '[::1]:8443', proxy_protocol: true}",
        BEHIND_US % "null",
    ],
)
def test_the_schema_takes_what_the_loader_takes(text: str) -> None:
    load_text(text, "x", {})
    jsonschema.validate(as_json(text), SCHEMA)


def test_the_table_has_every_key() -> None:
    table = render_reference()
    for path, key in fixed_keys().items():
        assert (f"| `{format_path(path)}` |" in table) == (key.reload is not None)
    assert "| `relay.ports` | `49152-65535` | a restart |" in table
    assert "| `log.level` | `info` | a reload |" in table


def test_the_table_replaces_what_stands_between_the_marks() -> None:
    text = with_reference(f"before\n{KEYS_BEGIN}\nold\n{KEYS_END}\nafter\n")
    assert text == f"before\n{KEYS_BEGIN}\n{render_reference()}{KEYS_END}\nafter\n"
    with pytest.raises(ValueError, match="no marks"):
        with_reference("nothing here")


def test_the_guide_shows_errors_as_they_are() -> None:
    guide = (ROOT / "docs" / "configuration.md").read_text()
    with pytest.raises(ConfigError) as caught:
        load_text("log: {level: inf}\nauth: {secret: x}\nrelay: {ports: 65535-49152}", "x", {})
    for problem in caught.value.problems:
        assert problem.message in guide
