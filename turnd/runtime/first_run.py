"""The start without a configuration: a secret of the server's own, and what to paste where."""

from __future__ import annotations

import json
import os
import secrets
import time
from typing import TYPE_CHECKING

from turnd.auth.rest import rest_password
from turnd.system import current_identity, make_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from turnd.stun.addresses import TransportAddress

SECRET_FILE = "secret"  # noqa: S105 - its name
_DAY = 86400

_SCHEMES = {
    "udp": ("turn", "udp"),
    "dtls": ("turns", "udp"),
    "tcp": ("turn", "tcp"),
    "tls": ("turns", "tcp"),
}
"""Scheme and `transport` of an RFC 7065 URI."""


def own_secret(directory: Path) -> str:
    """The secret in the state directory; made, with mode 600, where there is none.

    To be called as the user that the server stays: whoever makes the file is who reads it later.

    Raises:
        OSError: it can neither be read nor made; PermissionError says whose it should be.
        ValueError: the file is empty.
    """
    try:
        make_directory(directory)
    except OSError as error:
        raise type(error)(
            f"cannot keep a secret in {directory}: {error.strerror}: name another folder in "
            "state_directory, or set auth.secrets"
        ) from error
    path = directory / SECRET_FILE
    text = secrets.token_urlsafe(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        text = _read(path).strip()
        if not text:
            raise ValueError(f"{path} is empty: delete it, and another one is made") from None
        return text
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except PermissionError as error:
        user = current_identity().user
        raise PermissionError(
            f"{path} is not {user}'s to read, who the server runs as: give it to {user} (chown), "
            "or delete it, and another one is made"
        ) from error


def ice_servers(
    realm_secret: str, urls: Iterable[str], user: str = "browser", separator: str = ":"
) -> Mapping[str, object]:
    """An RTCConfiguration for the next 24 hours."""
    username = f"{int(time.time()) + _DAY}{separator}{user}"
    credential = rest_password(realm_secret, username)
    return {"iceServers": [{"urls": list(urls), "username": username, "credential": credential}]}


def turn_urls(endpoints: Iterable[tuple[str, TransportAddress]]) -> list[str]:
    """RFC 7065 URIs of endpoints: (`udp`, `dtls`, `tcp` or `tls`, address) each."""
    urls = []
    for transport, address in endpoints:
        scheme, by = _SCHEMES[transport]
        urls.append(f"{scheme}:{address}?transport={by}")
    return urls


def rtc_configuration_text(configuration: Mapping[str, object]) -> str:
    """Ready to paste into a page's script or a browser's console."""
    return f"new RTCPeerConnection({json.dumps(configuration, indent=2)})"
