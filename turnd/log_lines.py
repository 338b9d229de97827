"""How a log record becomes one line of printable text. Pure.

Rules of the house
    1.  One record is one line, whatever a client put into a name: what is not printable (control
        characters, line separators, direction marks, lone surrogates) is escaped.
    2.  Values have a bounded length.
    3.  Secrets do not belong into the log; should one come (by its field's name, as bytes, inside
        a URL) it is hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

Fields = Mapping[str, object]

LONGEST_VALUE = 1024
LONGEST_EXCEPTION = 8192
"""Characters; of an exception the end counts, of all else the beginning."""

HIDDEN = "***"

_SECRET_NAME = re.compile(
    r"(^|_)(passwords?|passphrase|secrets?|credentials?|tokens?|key|integrity|authorization)$|_keys$"
)
_URL_USER = re.compile(r"(?<=://)[^/\s]*@")
_DOTTED = r"(?:\d{1,3}\.){3}\d{1,3}"
_GROUP = r"[0-9a-fA-F]{0,4}"
_IPV4 = re.compile(rf"(?<![\d.]){_DOTTED}(?![\d.])")
_IPV6 = re.compile(
    rf"(?<![\w:.])(?:{_GROUP}(?::{_GROUP}){{1,6}}:{_DOTTED}|{_GROUP}(?::{_GROUP}){{2,7}})"
)
_OWN_ADDRESSES = frozenset({"endpoint", "endpoints", "listen", "local", "relay", "relayed"})
_PLAIN = re.compile(r"[\w./:+@\[\]-]+", re.ASCII)
_QUOTED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class LogFormat(StrEnum):
    """How a line is written."""

    CONSOLE = "console"
    """`2026-11-20T22:40:01.123Z WARN event=auth_failed client=203.0.113.9:51334 user="a b"`"""
    JSON = "json"
    """`{"time": "…", "level": "warn", "event": "auth_failed", …}`"""


class LogAddresses(StrEnum):
    """How much of an address the log shows."""

    FULL = "full"
    MASKED = "masked"
    """IPv4 to its /24, IPv6 to its /48; the server's own endpoints stay whole."""


def renderer(form: LogFormat, addresses: LogAddresses) -> Callable[[float, str, Fields], str]:
    """A function of (unix seconds, level, fields with `event`) to a line without its end."""
    write = _json_line if form is LogFormat.JSON else _console_line
    masked = addresses is LogAddresses.MASKED

    def render(unix_seconds: float, level: str, fields: Fields) -> str:
        return write(rfc3339(unix_seconds), level, _presentable(fields, masked=masked))

    return render


def rfc3339(unix_seconds: float) -> str:
    """UTC with milliseconds: `2026-11-20T22:40:01.123Z`."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def mask_addresses(text: str) -> str:
    """IP addresses within a text cut to IPv4 /24 and IPv6 /48; loopback tells nothing and stays."""
    return _IPV6.sub(_masked, _IPV4.sub(_masked, text))


def _masked(found: re.Match[str]) -> str:
    text = found[0]
    try:
        address = ip_address(text)
    except ValueError:
        return text  # a version number, a time
    if address.is_loopback or address.is_unspecified:
        return text
    if address.version == 4:
        return str(IPv4Network((text, 24), strict=False).network_address)
    return str(IPv6Network((text, 48), strict=False).network_address)


def _presentable(fields: Fields, *, masked: bool) -> dict[str, object]:
    shown: dict[str, object] = {}
    for name, value in fields.items():
        if value is None or not _is_secret(name):
            mask = masked and name not in _OWN_ADDRESSES
            shown[name] = _plain_value(value, mask=mask, tail=name == "exception")
        else:
            shown[name] = HIDDEN
    return shown


@lru_cache(maxsize=256)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _plain_value(value: object, *, mask: bool, tail: bool = False) -> object:
    """What JSON knows: None, bool, numbers, text, and lists and mappings of these."""
    if value is None or type(value) in (bool, int):
        return value
    if type(value) is float:
        return value if value - value == 0 else str(value)  # JSON has neither infinity nor NaN
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if type(value) in (list, tuple, set, frozenset):
        return [_plain_value(item, mask=mask) for item in value]  # type: ignore[attr-defined]
    if isinstance(value, Mapping):
        return _presentable({str(name): item for name, item in value.items()}, masked=mask)
    return _text(str(value), mask=mask, tail=tail)


def _text(text: str, *, mask: bool, tail: bool) -> str:
    if tail:
        text = text if len(text) <= LONGEST_EXCEPTION else "…" + text[-LONGEST_EXCEPTION:]
    elif len(text) > LONGEST_VALUE:
        text = text[:LONGEST_VALUE] + "…"
    if "://" in text:
        text = _URL_USER.sub(HIDDEN + "@", text)
    return mask_addresses(text) if mask else text


def _console_line(time: str, level: str, fields: Fields) -> str:
    pairs = (f"{_console_name(name)}={_console_value(value)}" for name, value in fields.items())
    return " ".join([time, level.upper(), *pairs])


def _console_name(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else "".join(map(_escaped, name)).replace(" ", "_")


def _console_value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        text = ",".join(str(item) for item in value)
    elif isinstance(value, dict):
        text = json.dumps(value)
    else:
        text = str(value)
    return text if _PLAIN.fullmatch(text) else f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    short = _QUOTED.get(character)
    if short is not None:
        return short
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_line(time: str, level: str, fields: Fields) -> str:
    record = {"time": time, "level": level, **fields}
    line = json.dumps(record)
    # A surrogate, lone or not, is written as \ud…: most lines have none to be looked for.
    return json.dumps(_without_surrogates(record)) if "\\ud" in line else line


def _without_surrogates(value: object) -> object:
    """Lone surrogates are no Unicode text: strict readers refuse a line that escapes them."""
    if isinstance(value, str):
        return _surrogates_spelled(value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_surrogates_spelled(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _surrogates_spelled(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
