from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import Run

Write = Callable[..., Path]


def test_a_good_file(run: Run, config: Write) -> None:
    path = config(
        realm="turn.example.org",
        relay={"addresses": ["10.0.0.5=203.0.113.7"]},
        auth={"users": {"alice": "s3cret"}, "secrets": ["very-secret"]},
    )

    result = run("validate", path)

    assert result.status == 0
    assert result.out.startswith(f"{path} is good.\n")
    for part in ("turn.example.org", "10.0.0.5=203.0.113.7", "49152-65535", "users: 1, secrets: 1"):
        assert part in result.out
    assert "s3cret" not in result.out
    assert "very-secret" not in result.out


def test_a_good_file_as_json(run: Run, config: Write) -> None:
    result = run("validate", config(realm="a.example"), "--json")

    assert result.json["ok"] is True
    assert result.json["realm"] == "a.example"
    assert result.json["credentials"] == ["a secret of its own"]


def test_every_source_of_credentials_is_counted(run: Run, config: Write) -> None:
    keys = {"north": {"key": "MTIzNDU2Nzg5MDEyMzQ1Ng==", "algorithm": "A128GCM"}}
    path = config(auth={"users": {"a": "b", "c": "d"}, "secrets": ["x"], "oauth": {"keys": keys}})
    made = run("validate", path, "--json").json["credentials"]
    assert made == ["users: 2", "secrets: 1", "keys of tokens: 1"]


def test_a_broken_file(run: Run, config: Write) -> None:
    path = config(reallm="x", workers=-1)

    result = run("validate", path)

    assert result.status == 78
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}:1:") for line in lines)
    assert "did you mean realm" in result.err


def test_a_broken_file_as_json(run: Run, config: Write) -> None:
    path = config(workers=-1)

    result = run("validate", path, "--json")

    assert result.status == 78
    assert result.json["ok"] is False
    problem = result.json["problems"][0]
    assert (problem["source"], problem["line"], problem["path"]) == (str(path), 1, "workers")
    assert problem["message"]


def test_a_file_that_is_not_there(run: Run, elsewhere: Path) -> None:
    result = run("validate", elsewhere / "none.yaml")

    assert result.status == 78
    assert "none.yaml" in result.err


def test_a_file_must_be_named(run: Run) -> None:
    assert run("validate").status == 64


def test_what_only_building_shows(run: Run, config: Write) -> None:
    path = config(
        listen=["tls://127.0.0.1:5349"],
        tls={"certificate": "nowhere.pem", "key": "nowhere.key"},
        auth={"redis": "redis://127.0.0.1:6379/0?nonsense=1"},
    )

    result = run("validate", path)

    assert result.status == 78
    certificate, redis = result.err.splitlines()
    assert certificate.startswith(f"{path}:1:")
    assert "nowhere.pem: cannot read the certificate" in certificate
    assert "auth.redis: 'nonsense' is no option" in redis


def test_whether_a_file_may_be_read_is_for_its_reader_to_tell(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    Path("config.yaml").write_text("realm: a\n")

    assert run("validate", "config.yaml").status == 0
