"""What the model says about a path: which keys a map has, what a value is, whether it is secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FileName
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import SecretStr

from turnd.config.fields import RELOAD_KEY, Reload, Section
from turnd.config.model import Config
from turnd.config.relay_addresses import RelayAddress
from turnd.config.values import Endpoint, HostPort

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from turnd.config.problems import Path

_WRITTEN_AS_TEXT = (str, FileName, SecretStr, Endpoint, HostPort, RelayAddress)


@dataclass(frozen=True, slots=True)
class Key:
    """One key that the model has under fixed names."""

    path: tuple[str, ...]
    info: FieldInfo

    @property
    def is_text(self) -> bool:
        """Whether the value is one text, that needs no quotes in a variable."""
        return bare_type(self.info.annotation) in _WRITTEN_AS_TEXT

    @property
    def is_optional(self) -> bool:
        """Whether null is a value."""
        return NoneType in get_args(self.info.annotation)

    @property
    def section(self) -> type[Section] | None:
        """The class of a map with fixed keys."""
        return as_section(self.info.annotation)

    @property
    def reload(self) -> Reload | None:
        """What a change needs; None where the keys below tell."""
        extra = self.info.json_schema_extra
        return Reload(str(extra[RELOAD_KEY])) if isinstance(extra, dict) else None


@cache
def fixed_keys() -> Mapping[tuple[str, ...], Key]:
    """Every key of the configuration that has a fixed name, sections included."""
    return {key.path: key for key in _walk(Config, ())}


def _walk(kind: type[Section], path: tuple[str, ...]) -> Iterator[Key]:
    for name, info in kind.model_fields.items():
        key = Key((*path, name), info)
        yield key
        below = key.section or _items_section(info.annotation)
        if below is not None:
            yield from _walk(below, key.path)


def type_at(path: Path) -> Any:
    """The annotation at a path; None where the model has nothing."""
    annotation: Any = Config
    for part in path:
        annotation = _step(annotation, part)
    return annotation


def section_at(path: Path) -> type[Section] | None:
    """The class of the map at a path, where its keys are fixed."""
    annotation = type_at(path)
    return as_section(annotation) or _items_section(annotation)


def is_secret(annotation: Any) -> bool:
    """Whether a value of this type is, or holds, what nobody may read."""
    return annotation is SecretStr or any(is_secret(part) for part in get_args(annotation))


def bare_type(annotation: Any) -> Any:
    """The type without metadata and without `| None`."""
    if get_origin(annotation) is Annotated:
        return bare_type(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return bare_type(next(part for part in get_args(annotation) if part is not NoneType))
    return annotation


def as_section(annotation: Any) -> type[Section] | None:
    """The class itself, when a value of this type is a map with fixed keys."""
    bare = bare_type(annotation)
    return bare if isinstance(bare, type) and issubclass(bare, Section) else None


def _items_section(annotation: Any) -> type[Section] | None:
    """Of a list of maps, which may be written as one map, the class of the maps."""
    bare = bare_type(annotation)
    return as_section(get_args(bare)[0]) if get_origin(bare) is tuple else None


def _step(annotation: Any, part: str | int) -> Any:
    bare = bare_type(annotation)
    kind = as_section(bare) or (_items_section(bare) if isinstance(part, str) else None)
    if kind is not None:
        info = kind.model_fields.get(part) if isinstance(part, str) else None
        return None if info is None else info.annotation
    if get_origin(bare) is tuple:
        return get_args(bare)[0]
    return get_args(bare)[1] if get_origin(bare) is Mapping else None
