"""The door between those who decide and what moves packets: `RelayEngine`.

Rules of the house
    1.  No verb blocks, and none raises for what the network did. What can fail says so in its
        return value (`RelayError`) or later as a counted drop.
    2.  What a verb says is in force when it returns: a packet handled afterwards meets the new
        rule, and an answer sent afterwards cannot overtake it.
    3.  Every rule carries its own deadline (seconds of the engine's monotonic clock) that is
        compared per packet; nobody has to tidy up for expiry to be exact.
    4.  A UDP leg is a plain value. The engine remembers a UDP client only from `open_relay` on.
        Handles (`RelayId`, `Leg.stream`, `ListenerId`) are never used twice.
    5.  Every queue has a bound; at the bound a packet is dropped and counted by reason.
    6.  Bandwidth is a matter of packets, never of requests: one that finds no room in a token
        bucket of its relay is dropped and counted, and no verb is refused for it. Bytes of a
        stream that was spliced wait instead.
    7.  From UDP to UDP the DSCP and ECN bits go along with a packet, and its TTL or hop limit less
        one; from TCP to UDP the connection's DSCP does (RFC 8656 sections 13 to 15, see `fields`).
    8.  An ICMP error that a packet to a peer met with is told to the client in a Data indication
        (RFC 8656 section 11.5) while the peer's host has a permission, channel or not; of each
        relay at most `ICMP_PER_SECOND`, since whoever can make a router complain is no client.
    9.  A stream whose ConnectionBind request was handed up is read no further until it has its
        answer, by `splice` or by `send_to_client`: what follows the request may be the peer's. It
        has the time that a frame has.

The engine relays by itself what needs no decision: ChannelData and Send indications from a client
to its peers, peers' datagrams to their client as ChannelData or Data indications. What everybody
gets who asks is no decision either. It may answer plain Binding requests (no long-term credential,
no unknown required attribute) itself, and first requests where it was told how to challenge them:
over UDP under the budget, and byte for byte as `turnd/turn` would. All else that a client sends is
handed up by `poll`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from turnd.engine.events import (
    BucketId,
    ClientMessage,
    CloseReason,
    Event,
    Leg,
    LegClosed,
    LegOpened,
    ListenerId,
    MediaWaiting,
    RelayId,
    Transport,
)
from turnd.engine.reports import (
    Drop,
    EngineCounters,
    LatencyHistogram,
    RelayCounters,
    RelayReport,
)
from turnd.engine.settings import (
    ALPN,
    TLS12_CIPHERS,
    Challenge,
    ListenerSettings,
    NonceKeys,
    TlsIdentity,
    TlsSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from turnd.stun.addresses import (
        ChannelNumber,
        ClientAddress,
        PeerAddress,
        ServerAddress,
        TransportAddress,
    )

ICMP_PER_SECOND = 10
"""ICMP errors that a client is told of each relay."""

FORMER_LEG_GRACE = 2.0
"""Seconds for which media of a leg that was left by its relays is taken for theirs."""

FORMER_LEGS = 4096
"""Legs whose late media a worker follows at the same time; beyond, it is dropped."""

SPLICE_LINGER = 30.0
"""Seconds of silence after which a pipe ends one side of which has ended."""


class RelayError(Enum):
    """Why `open_relay` could not bind."""

    PORT_TAKEN = "the port is in use"
    NO_SUCH_ADDRESS = "the address is not one of this host"
    NO_DESCRIPTORS = "out of file descriptors"
    OTHER = "the system refused"


class RelayEngine(Protocol):
    """What moves packets. One event loop's thread calls all verbs."""

    name: str
    """`portable`, `native`, `fake`: for the first line, the metric and `turnd check`."""

    @property
    def details(self) -> Mapping[str, str]:
        """How it works, for the first line and as labels of the metric.

        `io` (`epoll`, `io_uring`) and `workers` (threads that move packets), both fixed from
        `start` on.
        """
        ...

    @property
    def faults(self) -> int:
        """Faults of ours that were survived; the sum that `counters` has, at no cost to ask."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What an admin should know of how it runs, in words, complete from `start` on.

        Buffers that the system does not grant, a better way to the kernel that is closed here.
        """
        ...

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to move packets.

        `wake` is called in the loop's thread when `poll` has events. What it answers may leave
        together when it returns; an answer never leaves before what was ordered ahead of it.
        """
        ...

    def stop(self) -> None:
        """Close everything. Handles are dead afterwards."""
        ...

    def listen(
        self, endpoint: TransportAddress, settings: ListenerSettings, fd: int | None = None
    ) -> ListenerId:
        """Serve UDP, DTLS or both at an endpoint, or on an inherited, bound descriptor.

        The descriptor is ours from then on. A DTLS client becomes state when it has returned the
        cookie of a HelloVerifyRequest (RFC 6347 section 4.2.1): of such handshakes a bounded number
        is under way at the same time, in all and of one network; what comes beyond is dropped as
        `Drop.DTLS_HANDSHAKE`. `LegOpened` follows when one is complete. A new one from the
        addresses of an open session ends that session when it completes (section 4.2.8).

        Raises:
            OSError: the endpoint cannot be bound, or this engine has no DTLS. This one verb runs at
                start, where an admin waits for the reason.
        """
        ...

    def stream_listener(self, settings: ListenerSettings) -> ListenerId:
        """A handle under which streams of one accepting endpoint are adopted."""
        ...

    def configure(self, listener: ListenerId, settings: ListenerSettings) -> None:
        """New settings for the listener, buffers of open relays aside.

        A TLS handshake that begins afterwards meets the new identities, open streams keep their
        session.
        """
        ...

    def close_listener(self, listener: ListenerId) -> None:
        """No new clients by this listener. UDP and DTLS legs end with it, streams stay."""
        ...

    def endpoint(self, listener: ListenerId) -> TransportAddress:
        """Where a UDP listener is bound (port 0 resolved)."""
        ...

    def adopt(
        self,
        fd: int,
        listener: ListenerId,
        transport: Transport,
        client: ClientAddress,
        local: ServerAddress,
        first_bytes: bytes = b"",
    ) -> Leg:
        """Take over a connected stream (the descriptor is ours from now on).

        `first_bytes` were read from the socket already and come before all else. `LegOpened`
        follows, or `LegClosed` when the handshake fails.
        """
        ...

    def close_leg(self, leg: Leg, reason: CloseReason) -> None:
        """End a connection (after what waits to be sent, as far as the socket takes it at once)."""
        ...

    def open_relay(
        self,
        leg: Leg | None,
        bound: TransportAddress,
        deadline: float,
        buckets: Sequence[BucketId] = (),
    ) -> RelayId | RelayError:
        """Bind a relayed transport address for a leg; without a leg it is a reservation.

        A leg has one relay a family at most. `buckets` are those that its packets have to find
        room in, see `limit`.
        """
        ...

    def move(
        self, relay: RelayId, leg: Leg, deadline: float, buckets: Sequence[BucketId] = ()
    ) -> None:
        """Give a relay to another leg, as a reservation that is claimed, or to its own once more.

        Deadline and buckets are replaced, permissions and channels stay. What reached a reservation
        before is for the leg.
        """
        ...

    def hold_back(self, leg: Leg) -> None:
        """Keep the media of a leg that has no relays, until `hand_over` gives it some.

        Its first ChannelData or Send indication is told of by `MediaWaiting`, and waits with those
        that follow, 256 KiB of memory at most; beyond they are dropped. All else is handed up. So
        the client itself says when it has changed its path (RFC 8016), and both work until then.
        """
        ...

    def hand_over(self, relays: Sequence[RelayId], leg: Leg) -> None:
        """Give relays to another leg as they are, all at once; nothing under way is lost.

        What was held back of the leg is handled next, before all that it sends from now on;
        without relays it is dropped. The leg is held back no longer. What the former leg has sent
        may be slower: for `FORMER_LEG_GRACE` seconds its media goes the relays' way as well, unless
        it gets relays of its own or is held back.
        """
        ...

    def limit(self, bucket: BucketId, bits_per_second: int | None) -> None:
        """Set a token bucket's rate. 0: no limit; None: forget it, its number may come again.

        A relayed packet passes when every bucket of its relay has room for its payload, and then
        is drawn from all of them; else it is dropped as `Drop.BANDWIDTH`. Each direction has an
        account of its own in each bucket. An account is as deep as a quarter of a second of the
        rate, but at least 64 KiB, and full at first.

        A bucket exists from the first time that it is named here or with a relay, without limit
        until it is given one. Relays that still name a forgotten one are not limited by it.
        """
        ...

    def permit(self, relay: RelayId, peer_host: str, deadline: float) -> None:
        """Install or extend a permission. A deadline that has passed removes it."""
        ...

    def bind_channel(
        self, relay: RelayId, number: ChannelNumber, peer: PeerAddress, deadline: float
    ) -> None:
        """Install or extend a channel binding. A deadline that has passed removes it."""
        ...

    def extend(self, relay: RelayId, deadline: float) -> None:
        """Set the relay's end: sooner or later than before."""
        ...

    def close_relay(self, relay: RelayId) -> None:
        """Close the socket and forget all its rules, now. Unknown handles are fine."""
        ...

    def protect(
        self, endpoints: Iterable[TransportAddress], own_addresses: Mapping[str, str]
    ) -> None:
        """What may never be reached, whatever permission is held; replaces what was said before.

        `endpoints`: our listeners, Redis, admin; a wildcard host stands for every address of this
        host. `own_addresses`: announced host → bound host of every relay address that clients may
        address each other at. There only ports that are relayed at that moment are reachable;
        packets to an announced host go to its bound host, and what comes from a bound host is
        shown as from the announced one. Of several that were announced for one bound host the last
        is in force; a relay stays known by the one that was in force when it was opened.
        """
        ...

    def budget(self, answers_per_second: int) -> None:
        """Set how many answers that any stranger can provoke by UDP a network gets; 0: no limit.

        A network is an IPv4 /24 or an IPv6 /56. The budget is one second deep, and the same one for
        the answers that the engine gives itself and for those that are drawn by `draw`. There is no
        limit before the first call.
        """
        ...

    def draw(self, host: str) -> bool:
        """Whether one more answer that any stranger can provoke may go to the host's network.

        If so it is taken from the budget.
        """
        ...

    def know_nonces(self, keys: NonceKeys) -> None:
        """The keys of the nonces that are good now; replaces what was said before.

        Lets the engine prefer requests with a nonce of ours when more waits than is decided on;
        an engine to which looking is dearer than deciding may ignore it.
        """
        ...

    def challenge(self, listener: ListenerId, challenge: Challenge | None) -> None:
        """What strangers that come by this listener are told; None: nothing, they are handed up.

        That is what the engine is told before the first call. With a challenge, and with a key of
        this time from `know_nonces`, it may answer requests without integrity (Allocate, Refresh,
        CreatePermission, ChannelBind) itself; it may also leave them to Python and ignore this.
        """
        ...

    def send_to_client(self, leg: Leg, data: bytes, from_: ServerAddress | None = None) -> None:
        """Send a STUN message to a client, from the address it came to.

        By UDP one that is longer than the path's MTU leaves in fragments: who made it so long wants
        that (PADDING, RFC 5780 section 7.6).

        Args:
            leg: whose client it is for.
            data: the message.
            from_: for UDP, another of our endpoints that it is to leave from (RFC 5780). Without a
                listener there nothing is sent.
        """
        ...

    def splice(self, leg: Leg, fd: int, answer: bytes, buckets: Sequence[BucketId] = ()) -> bool:
        """Make a stream and a peer's connected socket one pipe (RFC 6062 section 5.4).

        The descriptor is ours from now on. `answer` is sent first; then bytes pass as they are,
        both ways, from the one that followed the ConnectionBind request on. Nothing is dropped:
        who takes bytes slowly, and a token bucket without room, slows down who sends them.

        The end of what one side sends is passed on behind its bytes, and the other side may finish
        what it says; once it has, or has been silent for `SPLICE_LINGER` seconds, `LegClosed`
        follows, with `CLIENT` or `PEER` for who ended first. With `SERVER` it follows at once where
        the socket leads to a protected endpoint.

        Returns:
            False where the stream has ended and nothing more follows; the socket is closed then.
        """
        ...

    def poll(self) -> Sequence[Event]:
        """A bounded batch of what waits for a decision.

        First new streams, what comes from legs with relays and, in engines that look at nonces,
        messages with one of ours; then what comes from strangers. Within each of the two every
        network (IPv4 /24, IPv6 /56) has its turn, and within a network the oldest comes first.
        Of so many events one is a stranger's, so that nobody keeps newcomers out.
        `LegClosed` comes after all other events of its leg; of one whose relay was opened, or that
        showed a nonce, while a message of it waited it may come before that message.

        At most 2,048 messages wait of either kind, of a stranger's network at most 256; beyond
        they are dropped as `Drop.HAND_UP_FULL`. What became of streams is never dropped.

        Raises:
            OSError: the engine has broken and cannot go on; the text says what of it.
        """
        ...

    def tick(self) -> None:
        """Time has passed: close streams over their deadlines, drop expired rules.

        Called about once a second; exactness does not depend on it.
        """
        ...

    def counters(self) -> EngineCounters:
        """Totals over all relays."""
        ...

    def relay_counters(self, relay: RelayId) -> RelayReport | None:
        """What one relay has counted since it was opened; None when it is closed."""
        ...


__all__ = [
    "ALPN",
    "FORMER_LEGS",
    "FORMER_LEG_GRACE",
    "ICMP_PER_SECOND",
    "SPLICE_LINGER",
    "TLS12_CIPHERS",
    "BucketId",
    "Challenge",
    "ClientMessage",
    "CloseReason",
    "Drop",
    "EngineCounters",
    "Event",
    "LatencyHistogram",
    "Leg",
    "LegClosed",
    "LegOpened",
    "ListenerId",
    "ListenerSettings",
    "MediaWaiting",
    "NonceKeys",
    "RelayCounters",
    "RelayEngine",
    "RelayError",
    "RelayId",
    "RelayReport",
    "TlsIdentity",
    "TlsSettings",
    "Transport",
]
