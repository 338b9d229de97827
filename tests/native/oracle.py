"""What the native codec is compared with: this project's Python, one answer for each question.

    python -m tests.native.oracle

Questions come by standard input and answers leave by standard output, each after its size in four
bytes (big-endian, as all numbers here). A question is one letter and what it is about; an answer is
text, bytes in it as hexadecimal digits. `native/relay-core/tests/oracle.rs` asks.
"""

from __future__ import annotations

import math
import socket
import sys
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, cast

from tests.turn.harness import World
from turnd.auth.credentials import ALGORITHMS, Offers, Unknown
from turnd.auth.nonce import Nonces
from turnd.auth.oauth import ThirdParty
from turnd.engine.base import Drop, Leg, ListenerId, RelayId, Transport
from turnd.engine.forwarding import Forwarder
from turnd.engine.frames import FrameReader
from turnd.engine.indications import decode_send_untrusted, encode_data, encode_icmp
from turnd.engine.proxy_v2 import Protocol, header_length, read_header
from turnd.engine.rules import Channel, Client, Relay, Rules
from turnd.engine.sockaddr import shown_address
from turnd.stun import attributes as a
from turnd.stun.addresses import (
    ChannelNumber,
    ClientAddress,
    PeerAddress,
    ServerAddress,
    TransportAddress,
    pack_host,
)
from turnd.stun.dtls_records import announces_too_much, hello_random
from turnd.stun.errors import DecodeError
from turnd.stun.message import MessageClass, decode_untrusted
from turnd.turn.events import Challenged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from turnd.auth.chain import CredentialChain
    from turnd.auth.credentials import Lookup, Query

_SIZE = Struct("!I")
_ADDRESS = Struct("!16sBHI")
"""A host, 4 bytes or 16 of them, its port and its scope."""
_FRAMING = Struct("!BH")
_MINTING = Struct("!dBdBB")
_TIME = Struct("!d")
_CHALLENGING = Struct("!d?B?BB")
_ICMP = Struct("!BBI")
_SERVER = ServerAddress(TransportAddress("192.0.2.1", 3478))
_FRAME_TIMEOUT = 10.0


def take_address(question: bytes) -> tuple[TransportAddress, bytes]:
    """An address at the beginning of a question, as a socket would tell it, and the rest."""
    packed, size, port, scope = _ADDRESS.unpack_from(question)
    rest = question[_ADDRESS.size :]
    if size == 4:
        return shown_address((socket.inet_ntop(socket.AF_INET, packed[:4]), port)), rest
    return shown_address((socket.inet_ntop(socket.AF_INET6, packed), port, 0, scope)), rest


def take_texts(rest: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Texts of so many bytes each at the beginning of a question, then what is left of it."""
    for size in sizes:
        yield rest[:size]
        rest = rest[size:]
    yield rest


def _offers(algorithms: int, anonymity: int) -> Offers:
    choices = (ALGORITHMS, *((one,) for one in ALGORITHMS), ())
    offered = choices[algorithms]
    return Offers(offered, username_anonymity=bool(anonymity and offered))


@dataclass
class Offering:
    """Of a chain of credentials what is offered, and nobody whom it knows."""

    offers: Offers
    third_party: ThirdParty | None

    def lookup(self, _name: Query, _now: float) -> Lookup:
        return Unknown()


class Oracle:
    """Answers; it remembers what it minted last."""

    def __init__(self) -> None:
        self._sent: list[tuple[bytes, int]] = []
        leg = Leg(ListenerId(1), Transport.UDP, _SERVER, ClientAddress(_SERVER))
        relay = Relay(RelayId(1), _SERVER, math.inf, self._transmit)
        self._client = Client(leg, self._transmit, None)
        self._client.relays = (relay,)
        self._client.channels = {
            number: self._channel(number, relay) for number in range(0x4000, 0x5000)
        }
        self._world = World()
        self._challenger = World()
        self._nonces = Nonces(1, bytes)
        self._answers: Mapping[bytes, Callable[[bytes], str]] = {
            b"D": self.datagram,
            b"S": self.send,
            b"B": self.binding,
            b"F": self.frames,
            b"M": self.mint,
            b"N": self.nonce,
            b"C": self.challenge,
            b"I": self.data_indication,
            b"E": self.icmp,
            b"P": self.proxied,
            b"R": self.records,
        }

    def answer(self, question: bytes) -> str:
        """The answer to a letter and what follows it."""
        return self._answers[question[:1]](question[1:])

    def _transmit(self, data: bytes, target: tuple[str, int], _fields: object = None) -> None:
        self._sent.append((data, target[1]))

    @staticmethod
    def _channel(number: int, relay: Relay) -> Channel:
        # The port tells the number again, so that what is sent tells the channel it came by.
        peer = PeerAddress(TransportAddress("192.0.2.9", number))
        channel = Channel(ChannelNumber(number), peer, relay, math.inf)
        channel.guarded = False
        return channel

    def datagram(self, data: bytes) -> str:
        """What a datagram is to a client with every channel bound, and without permissions."""
        rules = Rules(lambda _host: False)
        self._sent.clear()
        if not Forwarder(rules).from_client(self._client, data, 0.0):
            return "message"
        if self._sent:
            ((payload, number),) = self._sent
            return f"channel {number} {payload.hex()}"
        (drop,) = (reason for reason, times in rules.tally.drops.items() if times)
        return {
            Drop.NOT_STUN: "junk",
            Drop.MALFORMED_INDICATION: "malformed send",
            Drop.NO_PERMISSION: "send",
        }[drop]

    def send(self, data: bytes) -> str:
        """Peer, payload and flag of a Send indication."""
        try:
            peer, payload, dont_fragment = decode_send_untrusted(data)
        except DecodeError:
            return "malformed"
        return f"{pack_host(peer.host).hex()} {peer.port} {payload.hex()} {dont_fragment:d}"

    def binding(self, question: bytes) -> str:
        """The answer to a message whose sender need not be known; of a stream, without a budget."""
        client, data = take_address(question)
        leg = Leg(ListenerId(2), Transport.TCP, _SERVER, ClientAddress(client), 1)
        answer = self._world.server.receive(leg, data, self._world.now)
        self._world.events.clear()
        if not isinstance(answer, bytes):
            return "not plain"
        request, response = decode_untrusted(data), decode_untrusted(answer)
        is_signed = request.has_integrity or request.has_integrity_sha256
        is_success = response.message_class is MessageClass.SUCCESS
        return answer.hex() if is_success and not is_signed else "not plain"

    def frames(self, question: bytes) -> str:
        """The frames of a stream by the reads that complete them, one a second."""
        media, reads = _FRAMING.unpack_from(question)
        sizes_end = _FRAMING.size + 2 * reads
        sizes = Struct(f"!{reads}H").unpack(question[_FRAMING.size : sizes_end])
        stream = question[sizes_end:]
        reader = FrameReader(_FRAME_TIMEOUT)
        if media:
            reader.expect_media()
        told = []
        for now, size in enumerate(sizes):
            read, stream = stream[:size], stream[size:]
            try:
                for frame in reader.read(read, now):
                    told.append(frame.hex())  # noqa: PERF401 - frames before an error count
            except DecodeError:
                return " ".join([*told, "lost"])
            told.append("-" if reader.deadline is None else f"until {reader.deadline:.0f}")
        return " ".join(told)

    def mint(self, question: bytes) -> str:
        """A nonce for a client, then the keys that are good at another time."""
        client, rest = take_address(question)
        lifetime, mac_length, now, algorithms, anonymity = _MINTING.unpack_from(rest)
        (later,) = _TIME.unpack_from(rest, _MINTING.size)
        number = count()
        self._nonces = Nonces(
            lifetime, lambda size: sha256(b"%d" % next(number)).digest()[:size], mac_length
        )
        nonce = self._nonces.mint(ClientAddress(client), _offers(algorithms, anonymity), now)
        keys = self._nonces.keys(later)
        return " ".join([nonce, *(f"{epoch} {key.hex()}" for epoch, key in keys.items())])

    def nonce(self, question: bytes) -> str:
        """Whether a message has a nonce that is good for a client."""
        client, rest = take_address(question)
        (now,) = _TIME.unpack_from(rest)
        try:
            nonce = decode_untrusted(rest[_TIME.size :]).get(a.NONCE)
        except DecodeError:
            nonce = None
        valid = nonce is not None and self._nonces.check(nonce, ClientAddress(client), now).valid
        return f"{valid:d}"

    def challenge(self, question: bytes) -> str:
        """The challenge that a message gets with the nonces of before, if it is one's; and what
        challenges are made of. No name, no third party."""
        client, rest = take_address(question)
        now, by_stream, algorithms, anonymity, *sizes = _CHALLENGING.unpack_from(rest)
        names = take_texts(rest[_CHALLENGING.size :], sizes)
        realm, server_name, data = next(names), next(names), next(names)
        third_party = ThirdParty(server_name.decode(), {}, lambda: 0.0) if server_name else None
        offers = _offers(algorithms, anonymity)
        transport, stream = (Transport.TCP, 1) if by_stream else (Transport.UDP, 0)
        leg = Leg(ListenerId(1), transport, _SERVER, ClientAddress(client), stream)
        world = self._challenger
        world.realm.name = realm.decode()
        world.realm.credentials = cast("CredentialChain", Offering(offers, third_party))
        world.server.nonces = self._nonces
        world.events.clear()
        answer = world.server.receive(leg, data, now)
        if not world.reported(Challenged):
            answer = b""
        assert isinstance(answer, bytes)
        told = world.server.challenge_by(leg.listener)
        parts = answer, told.realm, told.cookie, bytes([told.flags])
        values = told.password_algorithms, told.third_party_authorization
        return " ".join(part.hex() for part in (*parts, *values))

    def data_indication(self, question: bytes) -> str:
        """A Data indication from a peer."""
        peer, rest = take_address(question)
        try:
            return encode_data(PeerAddress(peer), rest[12:], rest[:12]).hex()
        except ValueError:
            return "too long"

    def icmp(self, question: bytes) -> str:
        """A Data indication that tells of an ICMP error."""
        peer, rest = take_address(question)
        icmp = a.IcmpValue(*_ICMP.unpack_from(rest))
        return encode_icmp(PeerAddress(peer), icmp, rest[_ICMP.size :]).hex()

    @staticmethod
    def proxied(data: bytes) -> str:
        """How long the PROXY header of a datagram is, and whose the rest is."""
        try:
            length = header_length(data)
            addresses = read_header(data[:length], Protocol.DATAGRAM)
        except DecodeError:
            return "refused"
        if addresses is None:
            return f"{length} the proxy's"
        return f"{length} {pack_host(addresses.client.host).hex()} {addresses.client.port}"

    @staticmethod
    def records(data: bytes) -> str:
        """What DTLS records tell of themselves."""
        random = hello_random(data) or b""
        return f"{random.hex()} {announces_too_much(data):d}"


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more questions."""
    oracle = Oracle()
    while size := questions.read(_SIZE.size):
        answer = oracle.answer(questions.read(*_SIZE.unpack(size))).encode()
        answers.write(_SIZE.pack(len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
