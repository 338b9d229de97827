"""Authenticated requests, for what looks at nothing else."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from turnd.allocations.policy import PeerPolicy
from turnd.allocations.quotas import Quotas
from turnd.auth.chain import CredentialChain
from turnd.auth.credentials import Credential
from turnd.auth.rest import RestSecrets
from turnd.auth.static import StaticUsers
from turnd.engine.base import Leg, ListenerId, Transport
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress
from turnd.stun.integrity import IntegrityAlgorithm
from turnd.stun.message import (
    Integrity,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)
from turnd.turn.realm import Realm
from turnd.turn.request import Request

if TYPE_CHECKING:
    from turnd.stun import attributes as a

SERVER = TransportAddress("192.0.2.1", 3478)
_transactions = itertools.count(1)
_REALM = Realm(
    "example.org",
    CredentialChain(
        "example.org", StaticUsers("example.org", {}), RestSecrets("example.org", (), lambda: 0.0)
    ),
    PeerPolicy(),
    Quotas(),
)


def request(
    *attributes: tuple[a.Attribute[Any], Any],
    port: int = 1,
    host: str = "203.0.113.5",
    user: str = "alice",
    transport: Transport = Transport.UDP,
    sha256: bool = False,
    now: float = 0.0,
) -> Request:
    """An Allocate request with a transaction of its own."""
    client = ClientAddress(TransportAddress(host, port))
    algorithm = IntegrityAlgorithm.SHA256 if sha256 else IntegrityAlgorithm.SHA1
    data = encode_message(
        Method.ALLOCATE, MessageClass.REQUEST, next(_transactions).to_bytes(12), attributes
    )
    return Request(
        Leg(ListenerId(1), transport, ServerAddress(SERVER), client),
        decode_untrusted(data),
        now,
        _REALM,
        Credential(user, user, {}),
        Integrity(b"key", algorithm),
        None,
    )
