import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.config import Config, ConfigError, loader
from turnd.config.environment import variable
from turnd.config.keys import fixed_keys
from turnd.config.loader import find_config_file, load, load_text

VARIABLES = [variable(path) for path in fixed_keys()] + ["TURND_X", "TURND_AUTH__USERS__X"]
SAMPLE = """\
realm: turn.example.org
listen: [udp://0.0.0.0:3478, tcp://0.0.0.0:3478, tls://0.0.0.0:5349, "udp://[::]:3478"]
tls: {certificate: fullchain.pem, key: privkey.pem}        # or a list of such pairs
relay:
  addresses: [auto]          # auto | 10.0.0.5 | 10.0.0.5=203.0.113.7 | an IPv6 address
  ports: 49152-65535
auth:
  users: {alice: s3cret}
  secrets: [one, two]
  redis: redis://127.0.0.1:6379/0
peers: {deny: [special-purpose], allow: []}
limits: {allocations: 0, allocations_per_user: 0, allocations_per_client: 0,   # 0: no limit
         unauthenticated_per_second: 500}
admin: {listen: 127.0.0.1:9641}
log: {format: console, level: info}
engine: auto
workers: 0
user: turnd
shutdown: {timeout: 5}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "config.yaml", {})
    return str(caught.value).split("\n")


def test_a_file_as_admins_write_it(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SAMPLE)
    config = load(path, {})
    assert config.realm == "turn.example.org"
    assert [str(endpoint) for endpoint in config.listen] == [
        "udp://0.0.0.0:3478",
        "tcp://0.0.0.0:3478",
        "tls://0.0.0.0:5349",
        "udp://[::]:3478",
    ]
    assert config.tls[0].key == tmp_path / "privkey.pem"
    assert config.auth.users["alice"].get_secret_value() == "s3cret"
    assert [secret.get_secret_value() for secret in config.auth.secrets] == ["one", "two"]


def test_without_a_file_there_are_defaults_and_the_environment() -> None:
    assert load(None, {}) == Config()
    assert load(None, {"TURND_REALM": "x"}).realm == "x"
    with pytest.raises(ConfigError, match=r"^TURND_WORKERS: workers: a whole number is wanted"):
        load(None, {"TURND_WORKERS": "many"})


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "auth:\npeers:\n", "---\n", "null"])
def test_an_empty_file_has_the_defaults(text: str) -> None:
    assert load_text(text, "config.yaml", {}) == Config()


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        load(missing, {})
    assert str(caught.value) == f"{missing}: cannot be read: No such file or directory"


def test_every_error_at_once() -> None:
    assert problems(
        """\
realm: 123
listn: [a]
listen:
  - udp://0.0.0.0:3478
  - udq://0.0.0.0
  - tls://1.2.3.4
  - 0123
  - udp://0.0.0.0:3478
tls: {certificate: 5}
relay:
  addresses: [10.0.0.5=::1, auto, "::1"]
  ports: 5-4
  port_rest: 1:30
  lifetime: 4000
auth:
  users: {alice: 123, dave hunter2}
  secrets: hunter2
  strict_expiry: no
peers: {deny: }
peers: {}
log: {level: inf}
realms:
  c: {listen: [x], auth: {secrets: [z]}}
  "d\\n": {listen: [udp://127.0.0.1:1], auth: {secrets: [z]}}
"""
    ) == [
        "config.yaml:1:8: realm: text is wanted, not a number: put it in quotes",
        "config.yaml:2:1: listn: unknown key; did you mean listen?",
        "config.yaml:5:5: listen[1]: 'udq' is no transport: udp, dtls, tcp, tls and auto are",
        (
            "config.yaml:7:5: listen[3]: a number that begins with 0 is read as octal by "
            "some: leave "
            "out the 0, or put it in quotes if it is text"
        ),
        "config.yaml:8:5: listen[4]: udp://0.0.0.0:3478 stands at listen[0] already",
        "config.yaml:9:6: tls.key: is missing",
        "config.yaml:9:20: tls.certificate: a file's name is wanted",
        (
            "config.yaml:11:15: relay.addresses[0]: '10.0.0.5=::1': bound and announced "
            "address are of "
            "two families"
        ),
        "config.yaml:11:29: relay.addresses[1]: auto stands alone: it chooses the addresses itself",
        "config.yaml:12:10: relay.ports: '5-4': the first port is above the last",
        (
            "config.yaml:13:14: relay.port_rest: '1:30' is no duration: seconds as a number, "
            "or 30s, "
            "10m, 1h, 1d"
        ),
        "config.yaml:14:13: relay.lifetime: lifetime (4000) is above max_lifetime (3600)",
        "config.yaml:16:18: auth.users.alice: text is wanted, not a number: put it in quotes",
        "config.yaml:16:23: auth.users: an entry without password; name: password is wanted",
        "config.yaml:17:12: auth.secrets: a list is wanted, such as [one, two], not text",
        (
            "config.yaml:18:18: auth.strict_expiry: true or false is wanted, and 'no' is "
            "text in YAML "
            "1.2; did you mean false?"
        ),
        "config.yaml:19:15: peers.deny: a list is wanted, such as [one, two], not nothing",
        "config.yaml:20:1: peers: duplicate key, first at line 19",
        (
            "config.yaml:21:14: log.level: one of debug, info, warning, error is wanted, not "
            "'inf'; "
            "did you mean info?"
        ),
        (
            "config.yaml:23:16: realms.c.listen[0]: 'x' is no endpoint: write "
            "udp://0.0.0.0:3478 or "
            "tls://[::]:5349"
        ),
        'config.yaml:24:3: realms["d\\n"]: a realm holds no control characters',
    ]


def test_what_was_taken_out_is_not_missing() -> None:
    assert problems("tls: {certificate: 5, key: 6}") == [
        "config.yaml:1:20: tls.certificate: a file's name is wanted",
        "config.yaml:1:28: tls.key: a file's name is wanted",
    ]
    assert problems("realms: {b: {listen: [x], auth: {secrets: [x]}}}") == [
        (
            "config.yaml:1:23: realms.b.listen[0]: 'x' is no endpoint: write udp://0.0.0.0:3478 or "
            "tls://[::]:5349"
        )
    ]


def test_a_list_that_is_broken_in_one_place_is_told_once() -> None:
    assert problems("listen: [0123]") == [
        (
            "config.yaml:1:10: listen[0]: a number that begins with 0 is read as octal by "
            "some: leave "
            "out the 0, or put it in quotes if it is text"
        )
    ]


def test_what_is_no_map_is_one_problem() -> None:
    for text in ("[1]", "text", "5"):
        assert len(problems(text)) == 1


def test_broken_yaml_is_told_without_what_would_follow_from_it() -> None:
    lines = problems("realm: [x\nlisten: [tls://127.0.0.1]\n")
    assert len(lines) == 1
    assert "no valid YAML" in lines[0]


def test_relative_files_begin_at_the_folder_of_the_file(tmp_path: Path) -> None:
    text = "tls: {certificate: a.pem, key: /b.pem}\nstate_directory: state"
    config = load_text(text, "/etc/turnd/config.yaml", {})
    assert str(config.tls[0].certificate) == "/etc/turnd/a.pem"
    assert str(config.tls[0].key) == "/b.pem"
    assert str(config.state_directory) == "/etc/turnd/state"
    assert load_text(text, "config.yaml", {}).state_directory == Path.cwd() / "state"
    elsewhere = load_text(text, "config.yaml", {}, base=tmp_path)
    assert elsewhere.state_directory == tmp_path / "state"


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, system = tmp_path / "here" / "config.yaml", tmp_path / "etc" / "config.yaml"
    monkeypatch.setattr(loader, "PLACES", (here, system))
    assert find_config_file(None) is None
    assert find_config_file(Path("x.yaml")) == Path("x.yaml")
    system.parent.mkdir()
    system.touch()
    assert find_config_file(None) == system
    here.parent.mkdir()
    here.touch()
    assert find_config_file(None) == here


def test_a_file_that_may_not_be_seen_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "config.yaml"

    def refuse(_path: Path, **_: object) -> os.stat_result:
        raise PermissionError

    monkeypatch.setattr(loader, "PLACES", (place,))
    monkeypatch.setattr(Path, "stat", refuse)
    assert find_config_file(None) == place


def test_the_places_are_as_documented() -> None:
    assert (Path("config.yaml"), Path("/etc/turnd/config.yaml")) == loader.PLACES


def test_errors_keep_no_trace_of_values() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text("auth: {users: {alice: [hunter2]}}", "x", {})
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in repr(error)
        error = error.__cause__ or error.__context__


WRONG: tuple[object, ...] = (
    None, True, -1, 7, 1.5, float("nan"), "", "x", "a\nb", "\0", (), {}, ((),), {"a": None},
    {"": ()},
)  # fmt: skip


@pytest.mark.parametrize("path", [path for path in fixed_keys() if path[0] != "tls"])
def test_any_value_at_any_key_is_taken_or_told(path: tuple[str, ...]) -> None:
    for wrong in WRONG:
        value: object = wrong
        for part in reversed(path):
            value = {part: value}
        told = outcome(json.dumps(value), {})
        assert all(line.startswith("config.yaml:") for line in told)


@given(st.text(), st.dictionaries(st.sampled_from(VARIABLES), st.text()))
def test_any_text_and_environment_is_taken_or_told(text: str, environ: dict[str, str]) -> None:
    outcome(text, environ)


def outcome(text: str, environ: dict[str, str]) -> list[str]:
    """The lines of what is wrong; any other error than ConfigError fails the test."""
    try:
        load_text(text, "config.yaml", environ)
    except ConfigError as error:
        problems, lines = error.problems, str(error).split("\n")
    else:
        return []
    assert len(lines) == len(problems) > 0
    return lines
