from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from turnd.cli.errors import CommandError
from turnd.cli.realms import find_realm
from turnd.cli.secrets_at_hand import first_secret, read_password, read_secret_file
from turnd.cli.settings import load_config

Write = Callable[..., Path]


def secret_of(path: Path) -> str:
    config = load_config(str(path))
    return first_secret(config, find_realm(config, None))


class TestFirstSecret:
    def test_of_the_config(self, config: Write) -> None:
        assert secret_of(config(auth={"secrets": ["new", "old"]})) == "new"

    def test_the_one_that_the_server_made(self, config: Write, elsewhere: Path) -> None:
        (elsewhere / "state").mkdir()
        (elsewhere / "state" / "secret").write_text("made\n")

        assert secret_of(config()) == "made"

    def test_in_the_state_directory_of_the_config(self, config: Write, elsewhere: Path) -> None:
        (elsewhere / "secret").write_text("elsewhere\n")

        assert secret_of(config(state_directory=str(elsewhere))) == "elsewhere"

    def test_none_was_made_yet(self, config: Write) -> None:
        with pytest.raises(CommandError, match="start it once") as caught:
            secret_of(config())
        assert caught.value.status == 78

    def test_users_alone_are_no_secret(self, config: Write) -> None:
        with pytest.raises(CommandError, match=r"set auth\.secrets") as caught:
            secret_of(config(auth={"users": {"alice": "s3cret"}}))
        assert caught.value.status == 78


class TestFile:
    def test_the_first_line(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("  one  \ntwo\n")

        assert read_secret_file(str(tmp_path / "secret")) == "one"

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("\n")

        with pytest.raises(CommandError, match="is empty") as caught:
            read_secret_file(str(tmp_path / "secret"))
        assert caught.value.status == 65


class TestPassword:
    def test_a_line_of_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(" s3 cret \r\nmore\n"))

        assert read_password("Password", from_stdin=True) == " s3 cret "

    def test_nothing_on_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(""))

        with pytest.raises(CommandError, match="the password is empty"):
            read_password("Password", from_stdin=True)

    @pytest.mark.parametrize("option", ["--stdin", "--password-stdin"])
    def test_nobody_to_ask(self, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))

        with pytest.raises(CommandError, match=f"give it by {option}$") as caught:
            read_password("Password", from_stdin=False, option=option)
        assert caught.value.status == 64

    @pytest.mark.parametrize("confirm", [True, False])
    def test_asked_for_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch, confirm: bool) -> None:
        asked: list[dict[str, object]] = []

        def prompt(what: str, **options: object) -> str:
            asked.append({"what": what, **options})
            return "s3cret"

        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", terminal)
        monkeypatch.setattr(click, "prompt", prompt)

        assert read_password("Password", from_stdin=False, confirm=confirm) == "s3cret"
        assert asked == [
            {"what": "Password", "hide_input": True, "confirmation_prompt": confirm, "err": True}
        ]
