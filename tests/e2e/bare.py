"""STUN by bare, blocking sockets: what a client library would hide."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.e2e.server import PASSWORD, REALM, USER
from turnd.stun import attributes as a
from turnd.stun.keys import PasswordAlgorithm, long_term_key
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    Message,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

TIMEOUT = 30.0
ALLOCATE: list[tuple[a.Attribute[Any], Any]] = [(a.REQUESTED_TRANSPORT, 17)]


def request(method: Method, *attributes: tuple[a.Attribute[Any], Any]) -> bytes:
    """Without credentials."""
    parts = [*(ALLOCATE if method is Method.ALLOCATE else []), *attributes]
    return encode_message(method, MessageClass.REQUEST, os.urandom(12), parts)


def signed_allocate(
    challenge: Message,
    user: str = USER,
    password: str = PASSWORD,
    attributes: Sequence[tuple[a.Attribute[Any], Any]] = (),
) -> bytes:
    """The answer to a 401, as RFC 5389 clients give it: MD5 and SHA-1."""
    realm, nonce = challenge.get(a.REALM), challenge.get(a.NONCE)
    key = long_term_key(user, REALM, password, PasswordAlgorithm.MD5)
    parts = [(a.USERNAME, user), (a.REALM, realm), (a.NONCE, nonce), *ALLOCATE]
    parts += attributes
    return encode_message(
        *(Method.ALLOCATE, MessageClass.REQUEST, os.urandom(12), parts),
        integrity=Integrity(key, IntegrityAlgorithm.SHA1),
    )


def ask(client: socket.socket, message: bytes, server: tuple[str, int]) -> Message:
    """By UDP; the answer must come from where it was asked for.

    The socket is not connected, which would hide an answer from elsewhere.
    """
    client.settimeout(TIMEOUT)
    client.sendto(message, server)
    answer, source = client.recvfrom(65536)
    assert source[:2] == server
    return decode_untrusted(answer)
