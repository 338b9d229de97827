from __future__ import annotations

import hmac
import json
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from turnd.cli import credentials
from turnd.system import RouteAddresses

if TYPE_CHECKING:
    from tests.cli.conftest import Run

Write = Callable[..., Path]
SECRET = "north"
LISTEN = ["udp://127.0.0.1:3478", "tcp://127.0.0.1:3478", "tls://127.0.0.1:5349"]
TLS = {"certificate": "c.pem", "key": "k.pem"}
URIS = [
    "turn:127.0.0.1:3478?transport=udp",
    "turn:127.0.0.1:3478?transport=tcp",
    "turns:127.0.0.1:5349?transport=tcp",
]


@pytest.fixture(autouse=True)
def usual(config: Write) -> None:
    config(realm="a.example", listen=LISTEN, tls=TLS, auth={"secrets": [SECRET, "old"]})


def password_of(username: str, secret: str = SECRET) -> str:
    return b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()


def is_in(seconds: int, username: str) -> bool:
    return abs(int(username.partition(":")[0]) - time.time() - seconds) < 60


TLS_URI = "turns:127.0.0.1:5349?transport=tcp"


def test_plain(run: Run) -> None:
    result = run("credentials", "--user", "bob:x", "--ttl", "1h")

    name, password, *uris = [line.partition(": ")[2] for line in result.out.splitlines()]
    assert result.status == 0
    assert name.endswith(":bob:x")
    assert is_in(3600, name)
    assert password == password_of(name)
    assert uris == URIS


def test_a_bare_expiry_and_a_day_by_default(run: Run) -> None:
    made = run("credentials", "--json").json

    assert made["username"].isdigit()
    assert is_in(86400, made["username"])
    assert made["ttl"] == 86400
    assert made["password"] == password_of(made["username"])
    assert made["uris"] == URIS


def test_json_has_one_shape(run: Run) -> None:
    assert (
        run("credentials", "--format", "json").json.keys()
        == run("credentials", "--json").json.keys()
    )


def test_ice(run: Run) -> None:
    servers = run("credentials", "--format", "ice", "--user", "bob").json["iceServers"]

    assert len(servers) == 1
    assert servers[0]["urls"] == URIS
    assert servers[0]["credential"] == password_of(servers[0]["username"])


def test_curl_reads_its_config(run: Run) -> None:
    lines = run("credentials", "--format", "curl", "--user", 'b"b').out.splitlines()

    fields = [json.loads(line.removeprefix("data-urlencode = ")) for line in lines]
    assert fields[0].startswith("username=")
    assert fields[0].endswith(':b"b')
    assert [field for field in fields if field.startswith("uris=")] == [f"uris={u}" for u in URIS]


def test_curl_gets_other_letters_as_they_are(run: Run) -> None:
    out = run("credentials", "--format", "curl", "--user", "Jürgen").out
    assert 'Jürgen"' in out.splitlines()[0]


def test_gstreamer_is_percent_encoded(run: Run) -> None:
    lines = run("credentials", "--format", "gstreamer", "--user", "@bob/x").out.splitlines()

    scheme, _, rest = lines[2].partition("://")
    userinfo, _, address = rest.partition("@")
    assert scheme == "turns"
    assert address == "127.0.0.1:5349?transport=tcp"
    assert userinfo.partition(":")[0].endswith("%3A%40bob%2Fx")
    assert lines[0].startswith("turn://")


def test_the_separator_of_the_config(run: Run, config: Write) -> None:
    config(auth={"secrets": [SECRET], "separator": "_"}, listen=LISTEN[:1])

    assert "_bob" in run("credentials", "--user", "bob").out


def test_a_further_realm(run: Run, config: Write) -> None:
    further = {"listen": ["udp://127.0.0.2:3479"], "auth": {"secrets": ["south"]}}
    config(realm="a.example", auth={"secrets": [SECRET]}, realms={"b.example": further})

    made = run("credentials", "--realm", "b.example", "--json").json

    assert made["password"] == password_of(made["username"], "south")
    assert made["uris"] == ["turn:127.0.0.2:3479?transport=udp"]


@pytest.mark.parametrize(
    ("further", "uris"),
    [
        ({"sni": ["*.b.example", "b.example"]}, ["turns:b.example:5349?transport=tcp"]),
        ({"sni": ["*.b.example"]}, ["turn:127.0.0.1:3478?transport=udp", TLS_URI]),
        ({"origins": ["https://b"]}, ["turn:127.0.0.1:3478?transport=udp", TLS_URI]),
    ],
)
def test_a_realm_without_endpoints_is_found_at_the_servers(
    run: Run, config: Write, further: dict[str, list[str]], uris: list[str]
) -> None:
    realm = {"auth": {"secrets": ["south"]}, **further}
    config(
        listen=["udp://127.0.0.1:3478", "tls://127.0.0.1:5349"],
        tls={"certificate": "a", "key": "b"},
        realms={"b.example": realm},
    )
    assert run("credentials", "--realm", "b.example", "--json").json["uris"] == uris


class TestHosts:
    def uris(self, run: Run, *words: str) -> list[str]:
        found: list[str] = run("credentials", "--json", *words).json["uris"]
        return found

    def test_a_name_stands_for_all(self, run: Run, config: Write) -> None:
        config(
            listen=["udp://0.0.0.0:3478", "udp://[::]:3478", "tcp://0.0.0.0:80"],
            auth={"secrets": [SECRET]},
        )

        assert self.uris(run, "--host", "turn.example.org") == [
            "turn:turn.example.org:3478?transport=udp",
            "turn:turn.example.org:80?transport=tcp",
        ]

    def test_wildcards_are_what_relays_announce(self, run: Run, config: Write) -> None:
        config(
            listen=["udp://0.0.0.0:3478", "udp://[::]:3478"],
            relay={"addresses": ["2001:db8::7", "10.0.0.5=203.0.113.7"]},
            auth={"secrets": [SECRET]},
        )

        assert self.uris(run) == [
            "turn:203.0.113.7:3478?transport=udp",
            "turn:[2001:db8::7]:3478?transport=udp",
        ]

    def test_wildcards_are_what_routes_prefer(
        self, run: Run, config: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config(listen=["udp://0.0.0.0:1", "udp://[::]:1"], auth={"secrets": [SECRET]})
        routes = RouteAddresses("198.51.100.1", None)
        monkeypatch.setattr(credentials, "default_route_addresses", lambda: routes)

        assert self.uris(run) == ["turn:198.51.100.1:1?transport=udp"]

    def test_a_host_without_routes_serves_itself(
        self, run: Run, config: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config(listen=["udp://0.0.0.0:1", "udp://[::]:1"], auth={"secrets": [SECRET]})
        monkeypatch.setattr(
            credentials, "default_route_addresses", lambda: RouteAddresses(None, None)
        )

        assert self.uris(run) == ["turn:127.0.0.1:1?transport=udp"]

    def test_no_address_is_known(
        self, run: Run, config: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config(listen=["udp://[::]:1"], auth={"secrets": [SECRET]})
        monkeypatch.setattr(
            credentials, "default_route_addresses", lambda: RouteAddresses(None, None)
        )

        result = run("credentials")

        assert result.status == 78
        assert "--host" in result.err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--ttl", "never"], "--ttl"),
        (["--ttl", "0"], "--ttl"),
        (["--format", "xml"], "xml"),
        (["--realm", "none"], "no realm"),
    ],
)
def test_usage(run: Run, words: list[str], part: str) -> None:
    result = run("credentials", *words)

    assert result.status == 64
    assert part in result.err
    assert result.out == ""


def test_a_broken_config(run: Run, config: Write) -> None:
    config(reallm="x")

    result = run("credentials")

    assert result.status == 78
    assert "reallm" in result.err
