"""Where values stand, asked after loading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.config.origins import origin_of
from turnd.config.problems import Origin

if TYPE_CHECKING:
    from pathlib import Path


def test_a_value_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("realm: a\nauth:\n  redis: redis://x\n")
    assert origin_of(file, {}, ("auth", "redis")) == Origin(str(file), 3, 10)


def test_the_nearest_thing_around_what_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("realm: a\nauth:\n  secrets: [s]\n")
    assert origin_of(file, {}, ("auth", "users")).line in {2, 3}


def test_a_single_map_in_the_place_of_a_list(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("tls: {certificate: a.pem, key: b.pem}\n")
    assert origin_of(file, {}, ("tls", 0, "certificate")) == Origin(str(file), 1, 20)
    file.write_text("tls:\n- {certificate: a.pem, key: b.pem}\n")
    assert origin_of(file, {}, ("tls", 0, "certificate")) == Origin(str(file), 2, 17)


def test_a_variable_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("realm: a\n")
    environ = {"TURND_AUTH__REDIS": "redis://x"}
    assert origin_of(file, environ, ("auth", "redis")) == Origin("TURND_AUTH__REDIS")
    assert origin_of(None, environ, ("auth", "redis")) == Origin("TURND_AUTH__REDIS")


def test_a_file_of_secrets(tmp_path: Path) -> None:
    file, users = tmp_path / "config.yaml", tmp_path / "users"
    file.write_text("auth: {users_file: users}\n")
    users.write_text("alice: a\nbob: b\n")
    assert origin_of(file, {}, ("auth", "users", "bob")) == Origin(str(users), 2, 6)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone.yaml"
    assert origin_of(gone, {}, ("realm",)) == Origin(str(gone))
