from pathlib import Path

import pytest

from turnd.config import Config, ConfigError, load_text
from turnd.config.secret_files import UnreadableError, read_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets").write_text("one\n\n  two \r\n")
    (tmp_path / "users").write_text("# people\nalice: s3cret\nbob: md5:" + "0" * 32)
    (tmp_path / "redis").write_text("redis://:pw@127.0.0.1\n")
    (tmp_path / "empty").write_text(" \n")
    return tmp_path


def load(folder: Path, text: str, **environ: str) -> Config:
    return load_text(text, str(folder / "config.yaml"), environ)


def problems(folder: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **environ)
    return str(caught.value).replace(f"{folder}/", "").split("\n")


def secrets(config: Config) -> list[str]:
    return [secret.get_secret_value() for secret in config.auth.secrets]


def test_secrets_from_files(folder: Path) -> None:
    config = load(folder, "auth: {secrets_file: secrets, users_file: users, redis_file: redis}")
    assert secrets(config) == ["one", "two"]
    assert config.auth.users["alice"].get_secret_value() == "s3cret"
    assert set(config.auth.users) == {"alice", "bob"}
    assert config.auth.redis is not None
    assert config.auth.redis.get_secret_value() == "redis://:pw@127.0.0.1"
    assert config.auth.secrets_file == folder / "secrets"


def test_secrets_of_realms_from_files(folder: Path) -> None:
    text = "realms: {b: {listen: [udp://127.0.0.1:9], auth: {secrets_file: secrets}}}"
    config = load(folder, text)
    assert len(config.realms["b"].auth.secrets) == 2
    assert config.auth.secrets == ()


def test_files_named_by_variables(folder: Path) -> None:
    assert secrets(load(folder, "", TURND_AUTH__SECRETS_FILE=str(folder / "secrets"))) == [
        "one",
        "two",
    ]


def test_a_variable_wins_over_the_file(folder: Path) -> None:
    by_name = {"TURND_AUTH__SECRETS_FILE": str(folder / "secrets")}
    assert secrets(load(folder, "auth: {secrets: [three]}", **by_name)) == ["one", "two"]
    by_value = {"TURND_AUTH__SECRETS": "[three]"}
    assert secrets(load(folder, "auth: {secrets_file: secrets}", **by_value)) == ["three"]
    nothing = {"TURND_AUTH__SECRETS": "[]"}
    assert secrets(load(folder, "auth: {secrets_file: secrets}", **nothing)) == []


def test_a_key_and_its_file_exclude_each_other(folder: Path) -> None:
    assert problems(folder, "auth: {secrets: [x], secrets_file: secrets}") == [
        "config.yaml:1:36: auth.secrets_file: excludes auth.secrets, which is given as well"
    ]
    both = {"TURND_AUTH__REDIS": "redis://h", "TURND_AUTH__REDIS_FILE": str(folder / "redis")}
    assert problems(folder, "", **both) == [
        "TURND_AUTH__REDIS_FILE: auth.redis_file: excludes auth.redis, which is given as well"
    ]


def test_the_lines_of_the_default_configuration_exclude_nothing(folder: Path) -> None:
    config = load(
        folder, "auth: {secrets: [], secrets_file: secrets, users: {}, users_file: users}"
    )
    assert len(config.auth.secrets) == 2
    assert len(config.auth.users) == 2


@pytest.mark.parametrize("key", ["secrets_file", "users_file", "redis_file"])
def test_an_empty_or_missing_file_is_an_error(folder: Path, key: str) -> None:
    column = len(key) + 10
    assert problems(folder, f"auth: {{{key}: empty}}") == [
        f"config.yaml:1:{column}: auth.{key}: empty is empty"
    ]
    assert problems(folder, f"auth: {{{key}: none}}") == [
        f"config.yaml:1:{column}: auth.{key}: none cannot be read: No such file or directory"
    ]


def test_a_file_without_users_is_an_error(folder: Path) -> None:
    for text in ("# nobody\n", "{}"):
        (folder / "users").write_text(text)
        (line,) = problems(folder, "auth: {users_file: users}")
        assert line == "users:1:1: auth.users: no users: lines of name: password are wanted"


def test_mistakes_in_a_file_are_told_with_its_lines(folder: Path) -> None:
    (folder / "users").write_text("alice: 5309\nbob: ''\nalice: x\ncarl: [hunter2]\n")
    (folder / "redis").write_text("redis://:hunter2@h\nredis://:hunter2@h\n")
    (folder / "secrets").write_text("hunter2\n\n" + "x" * 4097)
    text = "auth: {secrets_file: secrets, users_file: users, redis_file: redis}\nlistn: 1"
    assert problems(folder, text) == [
        "config.yaml:2:1: listn: unknown key; did you mean listen?",
        "redis:1:1: auth.redis: one line is wanted",
        "secrets:3:1: auth.secrets[1]: a secret has 1 to 4096 characters, and not spaces alone",
        "users:1:8: auth.users.alice: text is wanted, not a number: put it in quotes",
        "users:2:6: auth.users.bob: a password has 1 to 4096 characters",
        "users:3:1: auth.users.alice: duplicate key, first at line 1",
        "users:4:7: auth.users.carl: text is wanted, not a list",
    ]


def test_a_file_of_users_that_is_no_yaml(folder: Path) -> None:
    (folder / "users").write_text("alice: *hunter2\n")
    (line,) = problems(folder, "auth: {users_file: users}")
    assert line.startswith("users:1:8: auth.users: no valid YAML")
    (folder / "users").write_text("hunter2")
    (line,) = problems(folder, "auth: {users_file: users}")
    assert line == "users:1:1: auth.users: a map is wanted, such as {name: value}, not text"


def test_wrong_types_are_left_to_the_model(folder: Path) -> None:
    assert problems(folder, "auth: {secrets_file: 5}\nrealms: 5") == [
        "config.yaml:1:22: auth.secrets_file: a file's name is wanted",
        "config.yaml:2:9: realms: a map is wanted, such as {name: value}, not a number",
    ]
    assert problems(folder, "auth: [x]") == [
        "config.yaml:1:7: auth: a map is wanted, such as {key: value}, not a list"
    ]


def test_reading_is_bounded_and_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbfa")
    assert read_text(path) == "a"
    path.write_bytes(b"a\nb\xff")
    with pytest.raises(UnreadableError, match=r"not UTF-8 \(line 2\)"):
        read_text(path)
    path.write_bytes(b"abc")
    with pytest.raises(UnreadableError, match="larger than"):
        read_text(path, largest=2)
    with pytest.raises(UnreadableError, match="Is a directory"):
        read_text(tmp_path)
    with pytest.raises(UnreadableError, match="no file's name"):
        read_text(Path("a\0b"))
