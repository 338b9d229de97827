"""The TURN server: a message from a client in, an answer out.

    receive ─ decode ─ Binding? answer under the budget (signed with a long-term key: go on)
                     ─ no integrity? challenge under the budget
                     ─ authenticate ─ NeedKey: ask the store, then `resume`
                                    ─ unknown required attributes? 420
                                    ─ the method's handler: success or `Refused`

Every handler runs to its end within one call, so nothing else can come between its checks and its
effects. The engine's verbs take effect at once; the answer is sent after they returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.auth.credentials import NeedLookup, Outcome, Unavailable
from turnd.engine.base import CloseReason, Transport
from turnd.stun.errors import DecodeError, ErrorCode
from turnd.stun.message import (
    Message,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)
from turnd.turn.allocate import allocate
from turnd.turn.answers import (
    Answer,
    error_response,
    refusal_response,
    success_response,
    unknown_attributes,
)
from turnd.turn.attempt import Attempt
from turnd.turn.authenticate import authenticate, is_first_request
from turnd.turn.behavior_discovery import quartet_of, sent_as_asked, understood
from turnd.turn.binding import binding, has_long_term_credential, signed_binding
from turnd.turn.challenge import challenge_of
from turnd.turn.channel_bind import channel_bind
from turnd.turn.classic_binding import classic_binding
from turnd.turn.connect import connect, connected
from turnd.turn.connection_attempt import arrived
from turnd.turn.connection_bind import allocation_to_bind, connection_bind
from turnd.turn.connection_ending import data_leg_closed
from turnd.turn.create_permission import create_permission
from turnd.turn.ending import end_allocation, forget_expired, revoke_refused_peers
from turnd.turn.events import (
    Authenticated,
    BindingAnswered,
    Challenged,
    Dropped,
    EndReason,
    MessageDropped,
)
from turnd.turn.expiry import check_expiry
from turnd.turn.mobility import media_waiting, outlives, shown_allocation
from turnd.turn.refresh import refresh
from turnd.turn.request import Attributes, Refused, Request
from turnd.turn.state import ServerState
from turnd.turn.understood import UNDERSTOOD, UNDERSTOOD_WITH_TOKENS
from turnd.turn.waiting import NeedKey, WaitingRequests

if TYPE_CHECKING:
    from turnd.auth.nonce import Nonces
    from turnd.engine.base import Challenge, Leg, ListenerId, RelayId
    from turnd.stun.addresses import TransportAddress
    from turnd.turn.realms import Realms

Handler = Callable[[ServerState, Request], Attributes | None]
"""What the success response says; None: the answer is given by other ways, or later."""

_HANDLERS: Mapping[int, Handler] = {
    Method.BINDING: signed_binding,
    Method.ALLOCATE: allocate,
    Method.REFRESH: refresh,
    Method.CREATE_PERMISSION: create_permission,
    Method.CHANNEL_BIND: channel_bind,
    Method.CONNECT: connect,
    Method.CONNECTION_BIND: connection_bind,
}


@dataclass(slots=True)
class TurnServer:
    """One server with all its realms."""

    state: ServerState
    nonces: Nonces
    waiting: WaitingRequests
    decoy_salt: bytes
    """Random bytes for the work done in vain for users that do not exist."""
    realms: Realms

    def receive(self, leg: Leg, data_untrusted: bytes, now: float) -> Answer | NeedKey | None:
        """Handle one message of a client.

        Returns:
            The answer to send, None where there is none, or `NeedKey`.
        """
        forget_expired(self.state, now)
        try:
            message = decode_untrusted(data_untrusted, classic=self.state.settings.rfc3489)
        except DecodeError:
            self._dropped(leg, Dropped.MALFORMED)
            return None
        if message.message_class is not MessageClass.REQUEST:
            return None  # an indication for keeping a NAT open, or nobody's response
        if message.is_classic:
            return self._classic(message, leg)
        if message.method == Method.BINDING and not has_long_term_credential(message):
            return self._binding(message, leg)
        if message.method not in _HANDLERS:
            self._dropped(leg, Dropped.UNKNOWN_METHOD)
            return None
        return self._handle(message, leg, now, None)

    def resume(self, need: NeedKey, outcome: Outcome, now: float) -> Answer | None:
        """Go on with a request whose look-up has ended; everything is checked again.

        Args:
            need: what `receive` returned.
            outcome: `Found`, `Unknown` or `Unavailable`.
            now: monotonic seconds.
        """
        if not self.waiting.remove(need):
            return None
        crowded = isinstance(outcome, Unavailable) and outcome.crowded
        if crowded and not need.leg.transport.is_stream:
            self._dropped(need.leg, Dropped.WAITING_FULL)  # the client asks again by itself
            return None
        forget_expired(self.state, now)
        answer = self._handle(need.message, need.leg, now, (need.realm, outcome))
        return None if isinstance(answer, NeedKey) else answer

    def leg_opened(self, leg: Leg, server_name: str | None) -> None:
        """A client's connection is ready; by TLS or DTLS it may have asked for a name."""
        self.realms.opened(leg, server_name)

    def leg_closed(self, leg: Leg, now: float, reason: CloseReason = CloseReason.CLIENT) -> None:
        """A client's stream ended.

        With it ends its allocation, unless that has a ticket, or its peer's connection.
        """
        self.realms.closed(leg)
        self.waiting.forget_leg(leg)
        data_leg_closed(self.state, leg, reason, now)
        allocation = self.state.table.get(leg)
        if allocation is not None and not outlives(self.state, allocation, leg):
            end_allocation(self.state, allocation, EndReason.DISCONNECTED, now)

    def media_waiting(self, leg: Leg, now: float) -> None:
        """The engine holds back media of a leg: the first that a client sends from there."""
        forget_expired(self.state, now)
        media_waiting(self.state, leg)

    def peer_arrived(self, relay: RelayId, source: TransportAddress, now: float) -> int | None:
        """A peer connects to a relayed transport address; the number that it goes by from now on.

        None: it has no business here, and is to be closed without a word.
        """
        forget_expired(self.state, now)
        return arrived(self.state, relay, source, now)

    def peer_connected(self, number: int, failure: str | None, now: float) -> None:
        """A connection that was asked for stands, or `failure` says why it does not."""
        forget_expired(self.state, now)
        connected(self.state, number, failure, now)

    def expire(self, now: float) -> None:
        """Tidy up what has reached its deadline."""
        forget_expired(self.state, now)

    def end_all(self, now: float) -> None:
        """End every allocation: the process is about to."""
        for allocation in list(self.state.table):
            end_allocation(self.state, allocation, EndReason.SHUTDOWN, now)

    def policy_changed(self, now: float) -> None:
        """Take back what the realms' policies now refuse."""
        revoke_refused_peers(self.state, now)

    def challenge_by(self, listener: ListenerId) -> Challenge:
        """What first requests by this listener get: nothing that `receive` does comes before it."""
        fixed = self.realms.by_listener.get(listener)
        if fixed is not None:
            return challenge_of(fixed)
        return challenge_of(self.realms.own, unless_named=self.realms.are_named)

    def _classic(self, message: Message, leg: Leg) -> Answer | None:
        if message.method == Method.BINDING and leg.transport is Transport.UDP:
            if not self._within_budget(leg):
                return None
            try:
                return classic_binding(self.state, leg, message)
            except DecodeError:
                pass  # it had no padding and no cookie to begin with: junk, most likely
        self._dropped(leg, Dropped.MALFORMED)
        return None

    def _binding(self, message: Message, leg: Leg) -> Answer | None:
        if not self._within_budget(leg):
            return None
        try:
            self._check_understood(message, leg, UNDERSTOOD)
            attributes = binding(self.state, leg, message)
        except DecodeError as error:
            return error_response(message, leg, Refused(ErrorCode.BAD_REQUEST, str(error)))
        except Refused as refused:
            return error_response(message, leg, refused)
        self.state.report(BindingAnswered(leg))
        answer = encode_message(
            Method.BINDING,
            MessageClass.SUCCESS,
            message.transaction_id,
            attributes,
            fingerprint=message.has_fingerprint,
        )
        return sent_as_asked(quartet_of(self.state.quartets, leg), leg, message, answer)

    def _check_understood(self, message: Message, leg: Leg, numbers: frozenset[int]) -> None:
        """Refuse required attributes that are unknown, or known with other methods alone."""
        if message.method == Method.BINDING:
            numbers |= understood(quartet_of(self.state.quartets, leg), leg)
        unknown = message.unknown_required(numbers)
        if unknown:
            raise unknown_attributes(unknown)

    def _handle(
        self, message: Message, leg: Leg, now: float, found: tuple[str, Outcome] | None
    ) -> Answer | NeedKey | None:
        """`found` is what a realm's store said that this request has waited for."""
        allocation = self.state.table.get(leg)
        about = shown_allocation(self.state, message) or allocation
        about = about or allocation_to_bind(self.state, message, now)
        kept = None if about is None else self.state.realms[about.realm]
        realm = self.realms.of(leg, message, kept)
        if about is not None and about.realm != realm.name:
            about = allocation
        attempt = Attempt(
            message,
            leg,
            realm,
            now,
            self.nonces,
            self.decoy_salt,
            self.state.report,
            about,
            self.state.wall_clock(),
        )
        if is_first_request(message):
            return self._challenge(attempt)
        offers = attempt.check_nonce()
        drawn = found is not None  # when it began to wait
        # What another realm's store said is no answer: an allocation may have come meanwhile.
        outcome = found[1] if found is not None and found[0] == realm.name else None
        # A ConnectionBind that has overtaken it: nobody reads messages there any more.
        is_pipe = self.state.connections.of_leg(leg) is not None
        if is_pipe or not (attempt.nonce_is_valid or drawn or self._within_budget(leg)):
            return None
        try:
            identity = authenticate(attempt, offers, outcome)
        except DecodeError as error:
            return error_response(message, leg, Refused(ErrorCode.BAD_REQUEST, str(error)))
        except Refused as refused:
            return error_response(message, leg, refused)
        if isinstance(identity, NeedLookup):
            return self._wait(identity, attempt)
        if leg.transport.is_connection:
            self.state.report(Authenticated(leg))
        credential, integrity, sent_here = identity
        request = Request(leg, message, now, realm, credential, integrity, allocation, sent_here)
        return self._answer(request, attempt)

    def _challenge(self, attempt: Attempt) -> bytes | None:
        if not self._within_budget(attempt.leg):
            return None
        self.state.report(Challenged(attempt.leg))
        refused = Refused(ErrorCode.UNAUTHENTICATED, "no credentials yet", attempt.challenge())
        return error_response(attempt.message, attempt.leg, refused)

    def _wait(self, needed: NeedLookup, attempt: Attempt) -> NeedKey | None:
        leg, message = attempt.leg, attempt.message
        if self.waiting.joins(leg, message.transaction_id):
            return None
        need = NeedKey(needed.query, leg, message, attempt.realm.name)
        if not self.waiting.add(need):
            self._dropped(leg, Dropped.WAITING_FULL)
            return None
        return need

    def _answer(self, request: Request, attempt: Attempt) -> Answer | None:
        """Everything after authentication; the answer is signed, whatever it is."""
        message, leg = request.message, request.leg
        try:
            check_expiry(request, attempt)
            third_party = request.realm.credentials.third_party or request.credential.access
            understood_here = UNDERSTOOD if third_party is None else UNDERSTOOD_WITH_TOKENS
            self._check_understood(message, leg, understood_here)
            attributes = _HANDLERS[message.method](self.state, request)
        except DecodeError as error:
            refused = Refused(ErrorCode.BAD_REQUEST, str(error))
            return refusal_response(self.state, request, refused)
        except Refused as refused:
            return refusal_response(self.state, request, refused)
        if attributes is None:
            return None
        answer = success_response(request, attributes, self.state.settings.software)
        if message.method != Method.BINDING:
            return answer
        return sent_as_asked(quartet_of(self.state.quartets, leg), leg, message, answer)

    def _within_budget(self, leg: Leg) -> bool:
        if leg.transport.is_connection or self.state.engine.draw(leg.client.host):
            return True
        self._dropped(leg, Dropped.OVER_BUDGET)
        return False

    def _dropped(self, leg: Leg, reason: Dropped) -> None:
        self.state.report(MessageDropped(leg, reason))
