"""Messages that no client sends: valid ones mutated, and signed ones full of rubbish.

The signed ones matter most: they pass authentication and reach every handler.
"""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

from tests.e2e.server import PASSWORD, REALM, USER
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.channel_data import encode_channel_data
from turnd.stun.keys import PasswordAlgorithm, long_term_key
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = long_term_key(USER, REALM, PASSWORD, PasswordAlgorithm.MD5)
PEER = TransportAddress("127.0.0.1", 9)
LENGTHS = (0, 1, 2, 3, 4, 7, 8, 12, 20, 32, 64, 513, 600)

Parts = list[tuple[a.Attribute[Any], Any]]

_REQUESTS: tuple[tuple[Method, Parts], ...] = (
    (Method.BINDING, []),
    (Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)]),
    (Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17), (a.EVEN_PORT, True), (a.LIFETIME, 1)]),
    (Method.REFRESH, [(a.LIFETIME, 600)]),
    (Method.CREATE_PERMISSION, [(a.XOR_PEER_ADDRESS, PEER), (a.XOR_PEER_ADDRESS, PEER)]),
    (Method.CHANNEL_BIND, [(a.CHANNEL_NUMBER, 0x4001), (a.XOR_PEER_ADDRESS, PEER)]),
)

_FINE: Parts = [
    (a.LIFETIME, 0),
    (a.LIFETIME, 0xFFFF_FFFF),
    (a.EVEN_PORT, False),
    (a.EVEN_PORT, True),
    (a.RESERVATION_TOKEN, bytes(8)),
    (a.REQUESTED_ADDRESS_FAMILY, AddressFamily.IPV6),
    (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6),
    (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV4),
    (a.DONT_FRAGMENT, True),
    (a.CHANNEL_NUMBER, 0x3FFF),
    (a.CHANNEL_NUMBER, 0x4FFF),
    (a.XOR_PEER_ADDRESS, TransportAddress("127.0.0.1", 0)),
    (a.XOR_PEER_ADDRESS, TransportAddress("::ffff:10.0.0.1", 80)),
    (a.XOR_PEER_ADDRESS, TransportAddress("255.255.255.255", 65535)),
    (a.USERNAME, "bob\0:%\n"),
    (a.USERHASH, bytes(32)),
    (a.SOFTWARE, "x"),
    (a.DATA, bytes(1200)),
]


class Nonsense:
    """An endless, seeded supply for one client.

    Args:
        seed: the same seed, the same messages (their transaction ids apart).
        challenge: a 401 that the client got; without it nothing is signed.
    """

    def __init__(self, seed: int, challenge: bytes | None = None) -> None:
        self._random = random.Random(seed)
        self._credentials: Parts = []
        if challenge is not None:
            nonce = decode_untrusted(challenge).get(a.NONCE)
            self._credentials = [(a.USERNAME, USER), (a.REALM, REALM), (a.NONCE, nonce)]
        self._kinds: list[Callable[[], bytes]] = [
            *(self._mutated, self._mutated),
            *(self._odd_combination, self._odd_combination, self._odd_combination),
            *(self._rubbish_attributes, self._rubbish_bytes),
        ]

    def message(self) -> bytes:
        """The next one."""
        return self._random.choice(self._kinds)()

    def valid(self) -> bytes:
        """What a client might send, signed where requests are."""
        pick = self._random.randrange(len(_REQUESTS) + 2)
        if pick == len(_REQUESTS):
            return encode_channel_data(0x4001, self._random.randbytes(40), padded=True)
        if pick > len(_REQUESTS):
            parts: Parts = [(a.XOR_PEER_ADDRESS, PEER), (a.DATA, self._random.randbytes(40))]
            return encode_message(Method.SEND, MessageClass.INDICATION, self._id(), parts)
        method, parts = _REQUESTS[pick]
        return self._signed(method, MessageClass.REQUEST, parts)

    def _mutated(self) -> bytes:
        data = bytearray(self.valid())
        for _ in range(self._random.randint(1, 4)):
            self._mutate(data)
        return bytes(data)

    def _mutate(self, data: bytearray) -> None:
        at = self._random.randrange(len(data)) if data else 0
        match self._random.randrange(6):
            case 0 if data:
                data[at] ^= 1 << self._random.randrange(8)
            case 1 if data:
                data[at] = self._random.choice((0x00, 0x01, 0x7F, 0x80, 0xFF))
            case 2:
                del data[at:]
            case 3:
                data[at:at] = self._random.randbytes(self._random.choice((1, 4, 8)))
            case 4:
                data[at:at] = data[at : at + 16]
            case _ if len(data) >= 4:
                struct.pack_into("!H", data, 2, self._random.choice((0, 1, 4, 8, len(data), 65535)))

    def _odd_combination(self) -> bytes:
        """Attributes that are fine by themselves, together or with a method where they are not."""
        method, parts = self._random.choice(_REQUESTS)
        more = self._random.choices(_FINE, k=self._random.randint(0, 3))
        chosen = [part for part in (*parts, *more) if self._random.random() < 0.9]
        self._random.shuffle(chosen)
        return self._signed(method, MessageClass.REQUEST, chosen)

    def _rubbish_attributes(self) -> bytes:
        method = self._random.choice((*Method, 0x0FFF))
        parts: Parts = []
        for _ in range(self._random.randint(0, 6)):
            number = self._random.choice((*a.ATTRIBUTES, self._random.randrange(65536)))
            value = self._random.randbytes(self._random.choice(LENGTHS))
            parts.append((a.raw(number), value))
        kind = self._random.choice((MessageClass.REQUEST, *MessageClass))
        return self._signed(method, kind, parts)

    def _rubbish_bytes(self) -> bytes:
        first = self._random.choice((0x00, 0x01, 0x40, 0x4F, self._random.randrange(256)))
        return bytes([first]) + self._random.randbytes(self._random.choice((0, 3, 19, 40, 1400)))

    def _signed(self, method: int, kind: MessageClass, parts: Parts) -> bytes:
        everything = [*self._credentials, *parts]
        integrity = Integrity(KEY, IntegrityAlgorithm.SHA1) if self._credentials else None
        fingerprint = self._random.random() < 0.5
        return encode_message(
            method, kind, self._id(), everything, integrity=integrity, fingerprint=fingerprint
        )

    def _id(self) -> bytes:
        return self._random.randbytes(12)
