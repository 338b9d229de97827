"""The server's own secret, and what is printed for browsers."""

from __future__ import annotations

import errno
import json
import stat
import time
from typing import TYPE_CHECKING

import pytest

from turnd.auth.rest import rest_password
from turnd.runtime.first_run import ice_servers, own_secret, rtc_configuration_text, turn_urls
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a/state"
    secret = own_secret(folder)
    assert len(secret) >= 40
    assert own_secret(folder) == secret
    assert stat.S_IMODE((folder / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert own_secret(tmp_path / "b") != secret


def test_an_empty_secret_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(ValueError, match="is empty: delete it"):
        own_secret(tmp_path)


def test_somebody_else_s_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "secret").write_text("north")
    monkeypatch.setattr(type(tmp_path), "read_text", refuse)
    with pytest.raises(PermissionError, match=r"secret is not .* give it to .* \(chown\)"):
        own_secret(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/state: Not a directory: name another folder in state_"):
        own_secret(tmp_path / "file/state")


@pytest.mark.parametrize("separator", [":", "-"])
def test_credentials_for_a_day(separator: str) -> None:
    made = ice_servers("s", ["turn:h"], separator=separator)
    server = made["iceServers"][0]  # type: ignore[index] # a mapping of JSON
    expiry, user = server["username"].split(separator)
    assert user == "browser"
    assert 86_390 < int(expiry) - time.time() <= 86_400
    assert server["credential"] == rest_password("s", server["username"])
    assert server["urls"] == ["turn:h"]


def test_urls() -> None:
    v4, v6 = TransportAddress("192.0.2.1", 3478), TransportAddress("2001:db8::1", 5349)
    assert turn_urls([("udp", v4), ("dtls", v6), ("tcp", v4), ("tls", v6)]) == [
        "turn:192.0.2.1:3478?transport=udp",
        "turns:[2001:db8::1]:5349?transport=udp",
        "turn:192.0.2.1:3478?transport=tcp",
        "turns:[2001:db8::1]:5349?transport=tcp",
    ]


def test_ready_to_paste() -> None:
    text = rtc_configuration_text({"iceServers": []})
    assert text.startswith("new RTCPeerConnection({")
    assert json.loads(text.removeprefix("new RTCPeerConnection(").removesuffix(")")) == {
        "iceServers": []
    }
