from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnd.log_lines import (
    HIDDEN,
    LONGEST_EXCEPTION,
    LONGEST_VALUE,
    LogAddresses,
    LogFormat,
    mask_addresses,
    renderer,
    rfc3339,
)
from turnd.stun.addresses import TransportAddress

console = renderer(LogFormat.CONSOLE, LogAddresses.FULL)
as_json = renderer(LogFormat.JSON, LogAddresses.FULL)
masked = renderer(LogFormat.CONSOLE, LogAddresses.MASKED)

any_text = st.text(st.characters(exclude_categories=()), max_size=40)  # lone surrogates included


def shown(**fields: object) -> str:
    """The console line's fields, without time and level."""
    return console(0.0, "info", {"event": "e", **fields}).partition("event=e ")[2]


def test_a_console_line() -> None:
    fields = {
        "event": "auth_failed",
        "client": TransportAddress("203.0.113.9", 51334),
        "user": "a b",
    }
    assert console(1795214401.1234, "warn", fields) == (
        '2026-11-20T22:40:01.123Z WARN event=auth_failed client=203.0.113.9:51334 user="a b"'
    )


def test_a_json_line() -> None:
    line = as_json(0.0, "info", {"event": "started", "port": 3478, "hosts": ["::1"], "tls": None})
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "event": "started",
        "port": 3478,
        "hosts": ["::1"],
        "tls": None,
    }


def test_time_is_rfc_3339_in_utc() -> None:
    assert rfc3339(1795214401.0) == "2026-11-20T22:40:01.000Z"


@given(any_text, any_text)
@example("\n", "\ud800")
@example("\u2028\u2029\x85\x0b\x0c\x1c", "\u202e\ufeff\x00\x7f")
def test_one_record_is_one_printable_line_whatever_it_carries(name: str, value: str) -> None:
    for render in (console, as_json, masked):
        line = render(0.0, "info", {"event": "e", "user": value, name: value, "more": [value]})
        assert line.splitlines() == [line]
        assert line.isprintable()
        line.encode()


@given(any_text)
def test_json_keeps_the_value_readable_for_strict_readers(value: str) -> None:
    read = json.loads(as_json(0.0, "info", {"event": "e", "user": value}))["user"]
    assert read.encode("utf-8").decode() == value.encode("utf-8", "backslashreplace").decode()


@given(any_text, any_text)
def test_two_users_never_look_the_same(one: str, other: str) -> None:
    assert (shown(user=one) == shown(user=other)) == (one == other)


@pytest.mark.parametrize(
    "forged", ['" event=login_ok x="', "a\nevent=login_ok", "a event=login_ok"]
)
def test_a_value_cannot_pose_as_a_field(forged: str) -> None:
    line = shown(user=forged)
    assert line.startswith('user="')
    assert line.endswith('"')
    inside = line[len('user="') : -1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inside


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1.5, "1.5"),
        (float("inf"), "inf"),
        ("", '""'),
        ("-", "-"),
        ("müller", '"müller"'),
        (["a", "b c"], '"a,b c"'),
        ({"a": 1}, '"{\\"a\\": 1}"'),
        (b"\x00\x01", '"<2 bytes>"'),
        (LogFormat.JSON, "json"),
        (SimpleNamespace(a=1), '"namespace(a=1)"'),
    ],
)
def test_values(value: object, text: str) -> None:
    assert shown(x=value) == f"x={text}"


def test_infinity_and_nan_are_text_in_json() -> None:
    line = as_json(0.0, "info", {"event": "e", "a": float("nan"), "b": float("-inf")})
    assert json.loads(line, parse_constant=pytest.fail)["a"] == "nan"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "redis_password",
        "secret",
        "secrets",
        "key",
        "md5_key",
        "sha256_keys",
        "token",
        "integrity",
    ],
)
def test_what_is_named_like_a_secret_is_hidden(name: str) -> None:
    assert shown(**{name: "hunter2"}) == f'{name}="{HIDDEN}"'
    assert shown(inner={name: ["hunter2"]}).find("hunter2") < 0


@pytest.mark.parametrize("name", ["keys", "keyspace", "secret_index", "monkeys_seen", "tokenizer"])
def test_what_only_sounds_so_is_not(name: str) -> None:
    assert shown(**{name: "shown"}) == f"{name}=shown"


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@db:6379/0",
        "rediss://turnd:hunter2@db/0",
        "Error 111 connecting to redis://u:hunt@er2@db:6379.",
    ],
)
def test_passwords_within_urls_are_hidden(url: str) -> None:
    line = shown(error=url)
    assert "hunt" not in line
    assert "er2" not in line
    assert "@db" in line


def test_bytes_are_never_shown() -> None:
    assert "hunter2" not in shown(data=[bytearray(b"hunter2"), memoryview(b"hunter2")])


def test_values_have_a_bound() -> None:
    assert len(shown(user="x" * 100_000)) < LONGEST_VALUE + 20
    trace = shown(exception="x" * 100_000 + " the cause")
    assert len(trace) < LONGEST_EXCEPTION + 30
    assert trace.endswith('the cause"')


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("203.0.113.9", "203.0.113.0"),
        ("203.0.113.9:51334", "203.0.113.0:51334"),
        ("[2001:db8:1:2:3::4]:5", "[2001:db8:1::]:5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        (
            "from 198.51.100.77 to 2001:db8:ff:1::9, twice",
            "from 198.51.100.0 to 2001:db8:ff::, twice",
        ),
        ("::ffff:203.0.113.9", "::"),
        ("127.0.0.1:80 and [::1]:80", "127.0.0.1:80 and [::1]:80"),
        ("0.0.0.0", "0.0.0.0"),
        ("22:40:01", "22:40:01"),
        ("1795214401:alice", "1795214401:alice"),
        ("version 1.2.3.4.5", "version 1.2.3.4.5"),
        ("999.1.1.1", "999.1.1.1"),
    ],
)
def test_masking(text: str, left: str) -> None:
    assert mask_addresses(text) == left


@given(st.ip_addresses().filter(lambda a: not (a.is_loopback or a.is_unspecified)))
def test_no_whole_address_is_left(address: object) -> None:
    text = mask_addresses(f"client {address} said")
    kept = 24 if getattr(address, "version", 0) == 4 else 48
    width = 32 if kept == 24 else 128
    host_bits = int(address) & ((1 << (width - kept)) - 1)  # type: ignore[call-overload]  # an address is a number
    if host_bits:
        assert f" {address} " not in text


def test_the_servers_own_endpoints_stay_whole() -> None:
    fields = {"event": "e", "endpoint": "203.0.113.7:3478", "client": "203.0.113.9:5"}
    assert masked(0.0, "info", fields).endswith("endpoint=203.0.113.7:3478 client=203.0.113.0:5")


def test_exceptions_and_lists_are_masked_too() -> None:
    fields = {"event": "e", "exception": "no route to 203.0.113.9", "peers": ["203.0.113.9"]}
    assert "203.0.113.9" not in masked(0.0, "info", fields)
