from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.server import PASSWORD, SECRET, USER, Server
from turnd.auth.rest import rest_password
from turnd.cli import check as check_module
from turnd.client.check_settings import CheckSettings
from turnd.client.report import Report, Status, Step
from turnd.client.uri import Server as ServerUri
from turnd.client.uri import Transport

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.e2e.certificates import Authority

Write = Callable[..., Path]
OK = Step("binding", Status.OK, "1 ms", values={"time_ms": 1.0})
FAILED = Step("echo", Status.FAILED, "0 of 20\x1b[0m", "open the ports")
SKIPPED = Step("allocate", Status.SKIPPED, "no credentials given")
WARNING = Step("certificate", Status.WARNING, "3 days left", "renew it")


class Asked:
    """Stands in for the check and remembers what it was asked for."""

    def __init__(self) -> None:
        self.servers: Sequence[ServerUri] = ()
        self.settings = CheckSettings()
        self.steps = [OK]

    async def __call__(self, servers: Sequence[ServerUri], settings: CheckSettings) -> list[Report]:
        self.servers, self.settings = servers, settings
        return [Report(server, list(self.steps)) for server in servers]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    stand_in = Asked()
    monkeypatch.setattr(check_module, "check", stand_in)
    return stand_in


class TestServers:
    @pytest.mark.parametrize(
        ("words", "servers"),
        [
            (
                ["h"],
                [
                    ServerUri("h", 3478, Transport.UDP),
                    ServerUri("h", 3478, Transport.TCP),
                    ServerUri("h", 5349, Transport.TLS),
                ],
            ),
            (
                ["h:80", "--tls-port", "443"],
                [
                    ServerUri("h", 80, Transport.UDP),
                    ServerUri("h", 80, Transport.TCP),
                    ServerUri("h", 443, Transport.TLS),
                ],
            ),
            (
                ["h", "--port", "80", "--transport", "tcp", "--transport", "udp"],
                [ServerUri("h", 80, Transport.TCP), ServerUri("h", 80, Transport.UDP)],
            ),
            (["turns:h:443"], [ServerUri("h", 443, Transport.TLS)]),
            (["turns:h?transport=udp"], [ServerUri("h", 5349, Transport.DTLS)]),
            (["turns:h:443?transport=udp"], [ServerUri("h", 443, Transport.DTLS)]),
            (["h:80", "--transport", "dtls"], [ServerUri("h", 5349, Transport.DTLS)]),
            (
                ["h", "--tls-port", "443", "--transport", "tls", "--transport", "dtls"],
                [ServerUri("h", 443, Transport.TLS), ServerUri("h", 443, Transport.DTLS)],
            ),
            (["turn:h?transport=tcp"], [ServerUri("h", 3478, Transport.TCP)]),
            (["h:80", "--transport", "tls"], [ServerUri("h", 5349, Transport.TLS)]),
        ],
    )
    def test_which_ones(
        self, run: Run, asked: Asked, words: list[str], servers: list[ServerUri]
    ) -> None:
        assert run("check", *words).status == 0
        assert asked.servers == servers

    @pytest.mark.parametrize(
        ("words", "part"),
        [
            ([], "HOST is missing"),
            (["h", "--local"], "either HOST or --local"),
            (["h:x"], "no port"),
            (["turns:h", "--transport", "udp"], "--transport is not"),
            (["turns:h", "--transport", "dtls"], "--transport is not"),
            (["h", "--count", "1"], "--count"),
            (["h", "--secret-file", "f", "--password-stdin"], "either"),
        ],
    )
    def test_usage(self, run: Run, asked: Asked, words: list[str], part: str) -> None:
        result = run("check", *words)

        assert result.status == 64
        assert part in result.err
        assert asked.servers == ()


class TestCredentials:
    def test_none(self, run: Run, asked: Asked) -> None:
        run("check", "h")

        assert asked.settings.username is None

    def test_a_user(self, run: Run, asked: Asked) -> None:
        run("check", "h", "--user", "alice", "--password-stdin", stdin="s3cret\n")

        assert (asked.settings.username, asked.settings.password) == ("alice", "s3cret")
        assert "s3cret" not in repr(asked.settings)

    @pytest.mark.usefixtures("asked")
    def test_a_user_without_password(self, run: Run) -> None:
        assert run("check", "h", "--user", "alice").status == 64

    @pytest.mark.parametrize(("words", "label"), [([], "check"), (["--user", "bob"], "bob")])
    def test_a_secret_of_a_file(
        self, run: Run, asked: Asked, elsewhere: Path, words: list[str], label: str
    ) -> None:
        (elsewhere / "secret").write_text("north\n")

        run("check", "h", "--secret-file", "secret", *words)

        self.is_rest(asked, "north", f":{label}")

    @pytest.mark.usefixtures("asked")
    def test_a_secret_file_that_is_not_there(self, run: Run) -> None:
        result = run("check", "h", "--secret-file", "none")

        assert result.status == 74
        assert result.err == "turnd: none: No such file or directory\n"

    def test_the_secret_of_a_config(self, run: Run, asked: Asked, config: Write) -> None:
        path = config(auth={"secrets": ["north"], "separator": "_"})

        run("check", "h", "--config", path)

        self.is_rest(asked, "north", "_check")

    def test_a_user_of_a_config(self, run: Run, asked: Asked, config: Write) -> None:
        path = config(auth={"users": {"alice": "s3cret"}, "secrets": ["north"]})

        run("check", "h", "--config", path, "--user", "alice")
        assert (asked.settings.username, asked.settings.password) == ("alice", "s3cret")

        run("check", "h", "--config", path, "--user", "bob")
        self.is_rest(asked, "north", ":bob")

    @pytest.mark.usefixtures("asked")
    def test_a_config_with_a_key_only(self, run: Run, config: Write) -> None:
        path = config(auth={"users": {"alice": "md5:" + "0" * 32}})

        result = run("check", "h", "--config", path, "--user", "alice")

        assert result.status == 64
        assert "--password-stdin" in result.err

    def is_rest(self, asked: Asked, secret: str, ending: str) -> None:
        username = asked.settings.username
        assert username is not None
        assert username.endswith(ending)
        assert asked.settings.password == rest_password(secret, username)


def test_other_settings(run: Run, asked: Asked) -> None:
    run("check", "h", "--ca", "ca.pem", "--server-name", "n", "--count", "5", "--size", "99")

    assert asked.settings.authorities == "ca.pem"
    assert asked.settings.server_name == "n"
    assert (asked.settings.probes.count, asked.settings.probes.size) == (5, 99)


class TestOutput:
    def test_steps_with_what_to_do(self, run: Run, asked: Asked) -> None:
        asked.steps = [OK, WARNING, SKIPPED, FAILED]

        result = run("check", "turn:h?transport=udp")

        assert result.status == 1
        assert result.out.splitlines() == [
            "turn:h:3478?transport=udp",
            "  ok    binding        1 ms",
            "  warn  certificate    3 days left",
            "                       renew it",
            "  skip  allocate       no credentials given",
            "  FAIL  echo           0 of 20\\x1b[0m",
            "                       open the ports",
        ]

    def test_the_same_advice_is_given_once_in_a_row(self, run: Run, asked: Asked) -> None:
        asked.steps = [replace(WARNING, name="a"), replace(WARNING, name="b"), OK, FAILED]

        assert run("check", "turn:h?transport=udp").out.count("renew it") == 1

    def test_warnings_do_not_fail(self, run: Run, asked: Asked) -> None:
        asked.steps = [OK, WARNING]

        assert run("check", "h").status == 0

    def test_json(self, run: Run, asked: Asked) -> None:
        asked.steps = [OK, FAILED]

        result = run("check", "turn:h?transport=udp", "--json")

        assert result.status == 1
        assert result.json["ok"] is False
        assert result.json["transports"][0]["steps"][0] == OK.as_json()

    @pytest.mark.usefixtures("asked")
    def test_colours_for_a_terminal_alone(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "\x1b" not in run("check", "h").out

        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

        assert "\x1b[32mok" in run("check", "h", "--transport", "udp").out


class TestLocal:
    def test_the_machine_is_looked_at(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        looked_at: list[str | None] = []

        def look(config: str | None) -> list[Step]:
            looked_at.append(config)
            return [OK, FAILED]

        monkeypatch.setattr(check_module, "check_machine", look)

        assert run("check", "--local").status == 1
        result = run("check", "--local", "--config", "c.yaml", "--json")
        assert result.json == {"ok": False, "steps": [OK.as_json(), FAILED.as_json()]}
        assert looked_at == [None, "c.yaml"]

    def test_this_very_machine(self, run: Run) -> None:
        steps: list[Any] = run("check", "--local", "--json").json["steps"]

        assert [step["name"] for step in steps] == [
            "config",
            "engine",
            "receive_buffer",
            "send_buffer",
            "ports",
            "descriptors",
            "addresses",
            "certificate",
        ]


class TestARunningServer:
    def test_by_every_transport(self, run: Run, server: Server, authority: Authority) -> None:
        words = ["--tls-port", server.tls_port, "--ca", authority.file, "--user", USER]
        host = f"127.0.0.1:{server.port}"

        result = run(
            "check", host, *map(str, words), "--password-stdin", "--json", stdin=f"{PASSWORD}\n"
        )

        assert result.status == 0, result.out
        transports = json.loads(result.out)["transports"]
        assert [each["transport"] for each in transports] == ["udp", "tcp", "tls"]
        for each in transports:
            assert each["steps"][-1]["name"] == "echo"
            assert each["steps"][-1]["loss"] == 0

    def test_a_wrong_secret(self, run: Run, server: Server, elsewhere: Path) -> None:
        (elsewhere / "secret").write_text(f"not {SECRET}")

        result = run(
            "check",
            f"turn:127.0.0.1:{server.port}?transport=udp",
            "--secret-file",
            "secret",
        )

        assert result.status == 1
        assert "FAIL  allocate       401" in result.out
        assert "server's own" in result.out
