"""Moves one packet by the rules, in either direction. Engines bring the bytes and the transmitters.

This is the path of every packet: what is looked up here is precomputed in `rules`, and whatever is
rare has a method of its own.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from os import urandom
from typing import TYPE_CHECKING

from turnd.engine.base import Drop, Transport
from turnd.engine.buckets import Direction, admit
from turnd.engine.fields import SYSTEM, Fields
from turnd.engine.icmp import IcmpRate
from turnd.engine.indications import (
    SEND,
    decode_send_untrusted,
    encode_data,
    encode_icmp,
    transaction_ids,
)
from turnd.engine.tally import reason_of
from turnd.stun.addresses import AddressFamily
from turnd.stun.attribute_values import MAGIC_COOKIE
from turnd.stun.classic import is_classic_binding_untrusted
from turnd.stun.errors import DecodeError

if TYPE_CHECKING:
    from turnd.engine.heldback import HeldBack
    from turnd.engine.rules import Channel, Client, Relay, Rules
    from turnd.engine.sockaddr import SockAddr
    from turnd.stun.addresses import PeerAddress
    from turnd.stun.attributes import IcmpValue

UP, DOWN = Direction
FromClient = Callable[["Client | None", bytes, float, "Fields | None"], bool]
"""`Forwarder.from_client`."""
_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_TOLD_BY_ICMP = frozenset(
    {
        errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOPROTOOPT,
        errno.EHOSTDOWN, errno.ENONET, errno.EOPNOTSUPP, errno.EPROTO, errno.EACCES, errno.EMSGSIZE,
    }
)  # fmt: skip


_OVER_TCP = frozenset({Transport.TCP, Transport.TLS})


def _heeds_dont_fragment(client: Client, relay: Relay) -> bool:
    """RFC 8656 section 13: from UDP to UDP DONT-FRAGMENT counts within IPv4 alone."""
    if client.leg.transport in _OVER_TCP:
        return True
    return client.leg.client.family is relay.bound.family is AddressFamily.IPV4


class Forwarder:
    """Forwards packets and counts what went no further."""

    def __init__(self, rules: Rules, random_bytes: Callable[[int], bytes] = urandom) -> None:
        self._rules = rules
        self.tally = rules.tally
        self._buckets = rules.buckets
        self._transaction_ids = transaction_ids(random_bytes)

    def from_client(
        self, client: Client | None, data: bytes, now: float, onward: Fields | None = SYSTEM
    ) -> bool:
        """Handle a packet or frame of a client (None: it has no relay).

        Args:
            client: who sent it.
            data: untrusted.
            now: monotonic seconds.
            onward: the IP header fields of what is sent on of it; None: its TTL has run out.

        Returns:
            Whether that was all. Else it is a STUN message for Python to decide on.
        """
        if len(data) < 4 or data[0] & 0xF0 != 0x40:
            return self._stun_from_client(client, data, now, onward)
        length = data[2] << 8 | data[3]
        channel = None if client is None else client.channels.get(data[0] << 8 | data[1])
        if (
            channel is None
            or now >= channel.deadline
            or now >= channel.relay.deadline
            or length > len(data) - 4
            or onward is None
            or (channel.guarded and self._rules.is_forbidden(channel.peer, now))
            or (self._buckets.limiting and not admit(channel.relay.buckets, UP, length, now))
        ):
            self._channel_data_stays(client, channel, data, now, onward)
            return True
        relay = channel.relay
        try:
            relay.transmit(data[4 : 4 + length], channel.target, onward)
        except OSError as error:
            again = partial(relay.transmit, data[4 : 4 + length], channel.target, onward)
            if not self._sent_again(relay, again, error):
                return True
        relay.last_from_client = now
        counters = relay.counters
        counters.packets_from_client += 1
        counters.bytes_from_client += length
        return True

    def _stun_from_client(
        self, client: Client | None, data: bytes, now: float, onward: Fields | None
    ) -> bool:
        if (
            len(data) < 20
            or data[0] > 3
            or data[4:8] != _COOKIE
            or (data[2] << 8 | data[3]) + 20 != len(data)
        ):
            self.tally.drop(Drop.NOT_STUN)
            return True
        if data[:2] != SEND:
            return False
        if client is None:
            self.tally.drop(Drop.NO_ALLOCATION)
        elif client.held is not None:
            self._hold(client.held, data, onward)
        elif not client.relays:
            self._follow(client, data, now, onward)
        else:
            self._send_indication(client, data, now, onward)
        return True

    def _hold(self, held: HeldBack, data: bytes, onward: Fields | None) -> None:
        if not held.add(data, onward):
            self.tally.drop(Drop.QUEUE_FULL)

    def _follow(self, former: Client, data: bytes, now: float, onward: Fields | None) -> None:
        """Media that has been overtaken by its client, who has moved on (RFC 8016), once."""
        client = former.successor
        if client is None or not client.relays or now >= former.until:
            client = None
        self.from_client(client, data, now, onward)

    def _send_indication(
        self, client: Client, data: bytes, now: float, onward: Fields | None
    ) -> None:
        try:
            peer, payload, dont_fragment = decode_send_untrusted(data)
        except DecodeError:
            self.tally.drop(Drop.MALFORMED_INDICATION)
            return
        relay = client.relay_for(peer.family)
        if relay is None or now >= relay.permissions.get(peer.host, now):
            self._drop(relay, Drop.NO_PERMISSION)
        elif now >= relay.deadline:
            self._drop(relay, Drop.EXPIRED)
        elif (target := self._rules.send_target(peer, now)) is None:
            self._drop(relay, Drop.FORBIDDEN_PEER)
        elif onward is None:
            self._drop(relay, Drop.HOP_LIMIT)
        elif self._buckets.limiting and not admit(relay.buckets, UP, len(payload), now):
            self._drop(relay, Drop.BANDWIDTH)
        else:
            whole = dont_fragment and _heeds_dont_fragment(client, relay)
            transmit = relay.transmit_unfragmented if whole else relay.transmit
            try:
                transmit(payload, target, onward)
            except OSError as error:
                again = partial(transmit, payload, target, onward)
                if not self._sent_again(relay, again, error):
                    return
            relay.last_from_client = now
            relay.counters.packets_from_client += 1
            relay.counters.bytes_from_client += len(payload)

    def _sent_again(self, relay: Relay, send: Callable[[], object], error: OSError) -> bool:
        """Whether it was sent after all: an error may be that of an earlier packet, to anybody."""
        if error.errno in _TOLD_BY_ICMP:
            try:
                send()
            except OSError as again:
                error = again
            else:
                return True
        self._drop(relay, reason_of(error))
        return False

    def icmp_from_peer(self, relay: Relay, target: SockAddr, icmp: IcmpValue, now: float) -> None:
        """Handle an ICMP error for a packet to a peer (section 11.5); channels do not matter."""
        peer = self._rules.peer_of(target)
        client = relay.client
        if client is None or now >= relay.deadline:
            self._drop(relay, Drop.EXPIRED if now >= relay.deadline else Drop.NO_CLIENT)
        elif now >= relay.permissions.get(peer.host, now):
            self._drop(relay, Drop.NO_PERMISSION)
        elif not self._admits_icmp(relay, now):
            self._drop(relay, Drop.ICMP_RATE)
        else:
            indication = encode_icmp(peer, icmp, next(self._transaction_ids))
            try:
                client.transmit(indication, client.address)
            except OSError as error:
                self._drop(relay, reason_of(error))
            else:
                self.tally.icmp_errors += 1

    @staticmethod
    def _admits_icmp(relay: Relay, now: float) -> bool:
        rate = relay.icmp_rate = relay.icmp_rate or IcmpRate(now)
        return rate.admits(now)

    def from_peer(
        self,
        relay: Relay,
        data: bytes,
        source: SockAddr,
        now: float,
        onward: Fields | None = SYSTEM,
    ) -> None:
        """Handle a datagram that reached a relayed transport address (sections 11.3, 12.7).

        `onward` is as for `from_client`; it is nothing to a client that came by TCP (section 16).
        """
        channel = relay.channels.get(source)
        if channel is not None and now >= channel.deadline:
            channel = None
        peer = self._rules.peer_of(source) if channel is None else channel.peer
        client = relay.client
        if client is None or now >= relay.deadline:
            self._drop(relay, Drop.EXPIRED if now >= relay.deadline else Drop.NO_CLIENT)
            return
        if now >= relay.permissions.get(peer.host, now):
            self._drop(relay, Drop.NO_PERMISSION)
            return
        if onward is None:
            if client.leg.transport not in _OVER_TCP:
                self._drop(relay, Drop.HOP_LIMIT)
                return
            onward = SYSTEM
        length = len(data)
        if self._buckets.limiting and not admit(relay.buckets, DOWN, length, now):
            self._drop(relay, Drop.BANDWIDTH)
            return
        try:
            if channel is not None:
                frame = channel.header + length.to_bytes(2, "big") + data
            else:
                frame = self._data_indication(peer, data)
            client.transmit(frame, client.address, onward)
        except OSError as error:
            self._drop(relay, reason_of(error))
            return
        relay.last_to_client = now
        counters = relay.counters
        counters.packets_to_client += 1
        counters.bytes_to_client += length

    def _data_indication(self, peer: PeerAddress, data: bytes) -> bytes:
        try:
            return encode_data(peer, data, next(self._transaction_ids))
        except ValueError as error:
            raise OSError(errno.EMSGSIZE, str(error)) from error

    def _channel_data_stays(
        self,
        client: Client | None,
        channel: Channel | None,
        data: bytes,
        now: float,
        onward: Fields | None,
    ) -> None:
        """Find out why ChannelData goes no further: it waits, or is dropped."""
        relay = None if channel is None else channel.relay
        if (data[2] << 8 | data[3]) > len(data) - 4:
            self._drop(relay, Drop.NOT_STUN)
        elif client is None:
            self._drop(relay, Drop.NO_ALLOCATION)
        elif client.held is not None:
            self._hold(client.held, data, onward)
        elif not client.relays:
            self._follow(client, data, now, onward)
        elif channel is None or now >= channel.deadline:
            self._drop(relay, Drop.NO_CHANNEL)
        elif now >= channel.relay.deadline:
            self._drop(relay, Drop.EXPIRED)
        elif onward is None:
            self._drop(relay, Drop.HOP_LIMIT)
        elif channel.guarded and self._rules.is_forbidden(channel.peer, now):
            self._drop(relay, Drop.FORBIDDEN_PEER)
        else:
            self._drop(relay, Drop.BANDWIDTH)

    def _drop(self, relay: Relay | None, reason: Drop) -> None:
        """Count a packet that went no further, at its relay too where it met one."""
        self.tally.drop(reason)
        if relay is not None:
            drops = relay.drops = relay.drops or {}
            drops[reason] = drops.get(reason, 0) + 1


def or_classic(forward: FromClient) -> FromClient:
    """The same where a Binding request of RFC 3489 is for Python to decide on too."""

    def from_client(client: Client | None, data: bytes, now: float, onward: Fields | None) -> bool:
        return not is_classic_binding_untrusted(data) and forward(client, data, now, onward)

    return from_client
