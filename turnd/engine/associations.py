"""The DTLS clients of a listener of the portable engine: hellos, handshakes, messages.

Rules of the house
    1.  A hello without a good cookie leaves nothing behind. Handshakes under way have a bound, in
        all and by network, and a deadline; beyond the bound hellos are dropped and counted. Each
        hello is drawn from the strangers' budget, before it is looked at: the first of them is
        answered, and that with the cookie costs a signature, more than hundreds of packets do.
    2.  A hello from the addresses of an open session begins a handshake beside it, which takes its
        place when it completes (RFC 6347 section 4.2.8). Until then records with messages are the
        old one's, those of handshakes the new one's.
    3.  One record is one message is one datagram: nothing is framed or padded, and what a path does
        not take is dropped as on plain UDP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from turnd.engine.base import (
    ClientMessage,
    CloseReason,
    Drop,
    Leg,
    LegOpened,
    ListenerSettings,
    Transport,
)
from turnd.engine.dtls import Contexts, Cookies, Door, DtlsSession
from turnd.engine.fields import SYSTEM, Fields
from turnd.stun.dtls_records import (
    APPLICATION_DATA,
    FIRST_BYTES,
    LARGEST_HELLO,
    announces_too_much,
    hello_random,
    is_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.engine.budget import AnswerBudget
    from turnd.engine.forwarding import Forwarder
    from turnd.engine.handshakes import Handshakes
    from turnd.engine.handup import HandUp
    from turnd.engine.rules import Client, Transmit
    from turnd.engine.tally import Tally


@dataclass(frozen=True, slots=True)
class AssociationDoors:
    """What associations need of the engine that keeps them."""

    forwarder: Forwarder
    hand_up: HandUp
    tally: Tally
    answers: AnswerBudget
    handshakes: Handshakes
    begin: Callable[[Association], None]
    """Keep it by its leg; the engine gives the leg its number."""
    end: Callable[[Association, CloseReason], None]
    """Close it and all that hangs on it."""
    next_handle: Callable[[], int]


class Associations:
    """Those of one listener, by what it looks its clients up by."""

    def __init__(
        self,
        settings: ListenerSettings,
        doors: AssociationDoors,
        make_leg: Callable[[Any, Transport, int], Leg],
        route_to: Callable[[Leg], tuple[Transmit, Any]],
    ) -> None:
        """`make_leg` and `route_to` are the listener's.

        Raises:
            OSError: there is no certificate, or one that cannot be served.
        """
        self.settings = settings
        self.handshakes: dict[Any, Association] = {}
        """Under way."""
        self.open: dict[Any, Association] = {}
        self._doors = doors
        self._make_leg = make_leg
        self._route_to = route_to
        self._cookies = Cookies()
        self._door = self._new_door(settings)

    def configure(self, settings: ListenerSettings) -> None:
        """New settings; handshakes that begin from now on meet the new identities."""
        if settings.tls != self.settings.tls:
            self._door = self._new_door(settings)
        self.settings = settings

    def _new_door(self, settings: ListenerSettings) -> Door:
        if settings.tls is None:
            raise OSError("DTLS needs a certificate")
        return Door(Contexts(settings.tls.identities, self._cookies))

    def takes(
        self, data_untrusted: bytes, key: Any, now: float, onward: Fields | None = SYSTEM
    ) -> bool:
        """Handle a datagram, unless it is one of plain UDP."""
        first = data_untrusted[0] if data_untrusted else 0
        if first not in FIRST_BYTES:
            if self.settings.plain_udp:
                return False
            self._doors.tally.drop(Drop.DTLS_RECORD)
            return True
        if first == APPLICATION_DATA and (association := self.open.get(key)) is not None:
            association.take(data_untrusted, now, onward)
        else:
            self._take_handshake(data_untrusted, key, now)
        return True

    def _take_handshake(self, data_untrusted: bytes, key: Any, now: float) -> None:
        if announces_too_much(data_untrusted):
            self._doors.tally.drop(Drop.DTLS_RECORD)
            return
        beginning, association = self.handshakes.get(key), self.open.get(key)
        random = hello_random(data_untrusted)
        if random is not None and not any(
            each is not None and each.random == random for each in (beginning, association)
        ):
            self._take_hello(data_untrusted, random, key, now)
        elif (taker := beginning or association) is not None:
            taker.take(data_untrusted, now)
        else:
            self._doors.tally.drop(Drop.DTLS_RECORD)

    def _take_hello(self, hello_untrusted: bytes, random: bytes, key: Any, now: float) -> None:
        doors = self._doors
        leg = self._make_leg(key, Transport.DTLS, 0)
        if not doors.answers.draw(leg.client.host, now):
            doors.handshakes.over_budget += 1
            return
        result = None
        if len(hello_untrusted) <= LARGEST_HELLO:
            result = self._door.knock(hello_untrusted, key, now)
        if result is None:
            doors.tally.drop(Drop.DTLS_RECORD)
        elif isinstance(result, bytes):
            self.send(result, leg)
        else:
            self._begin(result, random, key, now)

    def _begin(self, session: DtlsSession, random: bytes, key: Any, now: float) -> None:
        doors = self._doors
        if (former := self.handshakes.get(key)) is not None:
            doors.end(former, CloseReason.CLIENT)
        leg = self._make_leg(key, Transport.DTLS, doors.next_handle())
        if not doors.handshakes.begin(leg.client):
            doors.tally.drop(Drop.DTLS_HANDSHAKE)
            return
        association = Association(self, session, leg, key, random, now)
        self.handshakes[key] = association
        doors.begin(association)
        association.go_on(now)

    def opened(self, association: Association) -> None:
        """A handshake is complete: from now on this is who is at the addresses."""
        key, doors = association.key, self._doors
        del self.handshakes[key]
        doors.handshakes.end(association.leg.client)
        former = self.open.get(key)
        if former is not None:
            doors.end(former, CloseReason.CLIENT)
        self.open[key] = association
        opened = LegOpened(association.leg, association.server_name)
        doors.hand_up.add(opened, preferred=True)

    def left(self, association: Association) -> None:
        """One has ended."""
        key = association.key
        if self.handshakes.get(key) is association:
            del self.handshakes[key]
            self._doors.handshakes.end(association.leg.client)
        elif self.open.get(key) is association:
            del self.open[key]

    def repeat_flights(self) -> None:
        """Time has passed: handshakes send again what was not answered."""
        for association in list(self.handshakes.values()):
            association.repeat_flight()

    def close(self) -> None:
        """The listener closes."""
        for association in [*self.handshakes.values(), *self.open.values()]:
            self._doors.end(association, CloseReason.SERVER)

    def send(self, datagram: bytes, leg: Leg) -> None:
        """What is no media: lost when it cannot be sent."""
        transmit, address = self._route_to(leg)
        try:
            transmit(datagram, address)
        except OSError as error:
            self._doors.tally.send_failed(error)

    def route_to(self, leg: Leg) -> tuple[Transmit, Any]:
        """How datagrams go to a leg."""
        return self._route_to(leg)

    @property
    def doors(self) -> AssociationDoors:
        """What the engine lent."""
        return self._doors


class Association:
    """One client by DTLS, from its cookie on."""

    __slots__ = (
        "_address",
        "_deadline",
        "_heard",
        "_owner",
        "_session",
        "_transmit",
        "client",
        "key",
        "leg",
        "random",
    )

    def __init__(
        self,
        owner: Associations,
        session: DtlsSession,
        leg: Leg,
        key: Any,
        random: bytes,
        now: float,
    ) -> None:
        self.leg = leg
        self.key = key
        self.random = random
        """Of its hello."""
        self.client: Client | None = None
        self._owner = owner
        self._session = session
        self._transmit, self._address = owner.route_to(leg)
        self._deadline: float | None = now + owner.settings.handshake_timeout
        self._heard = now

    @property
    def server_name(self) -> str | None:
        """Whom the client asked for, as `LegOpened` tells it."""
        return self._session.server_name

    def serve(self, client: Client) -> None:
        """The client has a relay."""
        self.client = client

    def overdue(self, now: float) -> CloseReason | None:
        """Why it is to be closed by now, if it is."""
        if self._deadline is not None:
            return CloseReason.HANDSHAKE_TIMEOUT if now >= self._deadline else None
        silent = self.client is None and now >= self._heard + self._owner.settings.idle_timeout
        return CloseReason.IDLE if silent else None

    # ---------------------------------------------------------------- towards us

    def take(self, data_untrusted: bytes, now: float, onward: Fields | None = SYSTEM) -> None:
        """Handle a datagram."""
        self._session.feed(data_untrusted)
        if self._deadline is not None or not is_message(data_untrusted):
            self.go_on(now, onward)
            return
        try:
            message = self._session.read_one()
        except SSL.Error:
            self._owner.doors.end(self, CloseReason.CLIENT)
            return
        if message is not None:
            self._take_message(message, now, onward)

    def go_on(self, now: float, onward: Fields | None = SYSTEM) -> None:
        """Handle what was fed, the hello first of all."""
        session, doors = self._session, self._owner.doors
        try:
            if self._deadline is not None:
                complete = session.handshake()
                self._send_flight()
                if not complete:
                    return
                self._deadline = None
                self._owner.opened(self)
            messages, ended = session.read()
        except SSL.Error:
            self._send_flight()  # the alert that says why
            failed = self._deadline is not None
            doors.end(self, CloseReason.HANDSHAKE_FAILED if failed else CloseReason.CLIENT)
            return
        if not messages:
            self._send_flight()
        for message in messages:
            self._take_message(message, now, onward)
        if ended:
            doors.end(self, CloseReason.CLIENT)

    def _take_message(self, message_untrusted: bytes, now: float, onward: Fields | None) -> None:
        self._heard = now
        doors = self._owner.doors
        if not doors.forwarder.from_client(self.client, message_untrusted, now, onward):
            event = ClientMessage(self.leg, message_untrusted)
            doors.hand_up.add(event, preferred=self.client is not None)

    # ---------------------------------------------------------------- towards the client

    def transmit(self, message: bytes, _address: object, fields: Fields = SYSTEM) -> None:
        """Send one message.

        Raises:
            OSError: it cannot be sent.
        """
        self._transmit(self._session.write(message), self._address, fields)

    def answer(self, message: bytes) -> None:
        """Send an answer to a request, as `transmit` does."""
        self.transmit(message, None)

    def repeat_flight(self) -> None:
        """Send the last flight again, when it is time to."""
        try:
            self._session.repeat()
        except SSL.Error:
            self._owner.doors.end(self, CloseReason.HANDSHAKE_TIMEOUT)
        else:
            self._send_flight()

    def _send_flight(self) -> None:
        for datagram in self._session.outgoing():
            self._owner.send(datagram, self.leg)

    def farewell(self) -> None:
        """Say that it ends, and let go of the place."""
        self._owner.left(self)
        if self._deadline is None:
            self._session.close()
            self._send_flight()
