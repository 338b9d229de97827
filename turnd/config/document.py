"""What is made from the model: `config.yaml`, the JSON Schema and the table of all keys."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from turnd.config.environment import variable
from turnd.config.fields import Reload, Section
from turnd.config.keys import Key, bare_type, fixed_keys
from turnd.config.model import Config
from turnd.config.problems import Origin, format_path
from turnd.config.yaml_text import parse_yaml

WIDTH = 100
KEYS_BEGIN = "<!-- keys: made by python -m turnd.config -->"
KEYS_END = "<!-- end of keys -->"

_HEAD = f"""\
The configuration of turnd: every key, with its default. Leave out what you do not change.

A key can be set by the environment as well: {variable(("relay", "ports"))}=50000-50999. Secrets can
be read from files: the keys that end in _file. Durations are seconds, or 30s, 10m, 1h, 1d.
Relative file names begin at the folder of this file. Text that YAML could take for something else
stands in quotes.

turnd validate FILE tells every mistake. SIGHUP or turnd reload reads the file again; what is
marked [restart] needs a restart.

This file is made from the model by python -m turnd.config.
"""
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./:=@ -]*[A-Za-z0-9_./=@-])?")


def render_yaml() -> str:
    """The complete, commented default configuration."""
    lines = [*_comment(_HEAD), *_render_section(Config, Config(), "")]
    return "\n".join(lines) + "\n"


def render_schema() -> str:
    """The JSON Schema (2020-12) of the configuration, for editors."""
    schema = Config.model_json_schema(schema_generator=_WithoutTitles)
    schema = {"$schema": GenerateJsonSchema.schema_dialect} | schema
    schema["title"] = "The configuration of turnd"
    definitions = schema["$defs"]
    kinds: list[type[Section]] = [Config, *dict.fromkeys(_sections(Config))]
    for kind in kinds:
        properties = (schema if kind is Config else definitions[kind.__name__])["properties"]
        for name, info in kind.model_fields.items():
            properties[name] = _complete(properties[name], info)
    pairs = schema["properties"]["tls"]
    items = {word: pairs.pop(word) for word in ("items", "type")}
    pairs["anyOf"] = [items["items"], items, {"type": "null"}]
    address = definitions["PassthroughSection"]["properties"]["to"]["pattern"]
    schema["properties"]["passthrough"]["anyOf"].insert(0, {"type": "string", "pattern": address})
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def render_reference() -> str:
    """A Markdown table of all keys."""
    lines = [
        "| Key | Default | A change needs | Meaning |",
        "| --- | --- | --- | --- |",
    ]
    for key in fixed_keys().values():
        if key.reload is not None:
            default = "" if key.info.is_required() else f"`{_flow(_default(key.info))}`"
            needs = "a restart" if key.reload is Reload.RESTART else "a reload"
            meaning = (key.info.description or "").replace("|", "\\|")
            lines.append(f"| `{format_path(key.path)}` | {default} | {needs} | {meaning} |")
    return "\n".join(lines) + "\n"


def with_reference(document: str) -> str:
    """A Markdown document with the table between its marks made anew.

    Raises:
        ValueError: the marks are missing.
    """
    before, begin, rest = document.partition(KEYS_BEGIN)
    _, end, after = rest.partition(KEYS_END)
    if not (begin and end):
        raise ValueError("the document has no marks for the table of keys")
    return f"{before}{KEYS_BEGIN}\n{render_reference()}{KEYS_END}{after}"


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the hook's form
        return False


def _sections(kind: type[Section]) -> Iterator[type[Section]]:
    for info in kind.model_fields.values():
        for part in _classes(info.annotation):
            yield part
            yield from _sections(part)


def _classes(annotation: Any) -> Iterator[type[Section]]:
    bare = bare_type(annotation)
    if isinstance(bare, type) and issubclass(bare, Section):
        yield bare
    for part in getattr(bare, "__args__", ()):
        yield from _classes(part)


def _complete(field: dict[str, Any], info: FieldInfo) -> dict[str, Any]:
    """A field as it is written: its default in plain values, and an empty section allowed."""
    if "default" in field:
        field["default"] = _plain(info.default)
    if "$ref" in field:
        reference = {"$ref": field.pop("$ref")}
        field["anyOf"] = [reference, {"type": "null"}]
    return field


def _render_section(kind: type[Section], defaults: Section, indent: str) -> Iterator[str]:
    for number, (name, info) in enumerate(kind.model_fields.items()):
        key = Key((name,), info)
        value = getattr(defaults, name)
        if number or not indent:
            yield ""
        yield from _comment(_described(key), indent)
        for example in info.examples or ():
            yield from _comment(f"Example: {name}: {_flow(_plain(example))}", indent)
        if isinstance(value, Section):
            yield f"{indent}{name}:"
            yield from _render_section(type(value), value, indent + "  ")
        else:
            yield f"{indent}{name}: {_flow(_plain(value))}"


def _described(key: Key) -> str:
    mark = " [restart]" if key.reload is Reload.RESTART else ""
    return f"{key.info.description}{mark}"


def _default(info: FieldInfo) -> Any:
    return _plain(info.get_default(call_default_factory=True))


def _plain(value: Any) -> Any:
    """A value as it would be written."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return str(value)


def _flow(value: Any) -> str:
    """A plain value as YAML on one line."""
    if isinstance(value, list):
        return f"[{', '.join(_flow(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_flow(name)}: {_flow(item)}' for name, item in value.items())}}}"
    if isinstance(value, str):
        if _PLAIN_TEXT.fullmatch(value) and parse_yaml(value, Origin("text"))[0].value == value:
            return value
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _comment(text: str, indent: str = "") -> Iterator[str]:
    for paragraph in text.strip().split("\n"):
        for line in textwrap.wrap(paragraph, WIDTH - len(indent) - 2, break_on_hyphens=False) or [
            ""
        ]:
            yield f"{indent}# {line}".rstrip()
