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

from turnd.auth.credentials import NeedLookup, Outcome
from turnd.engine.base import Transport
from turnd.stun import attributes as a
from turnd.stun.errors import DecodeError, ErrorCode
from turnd.stun.message import (
    Message,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)
from turnd.turn.allocate import allocate
from turnd.turn.answers import Answer, error_response, unknown_attributes
from turnd.turn.authenticate import (
    Attempt,
    authenticate,
    check_nonce,
    is_first_request,
)
from turnd.turn.behavior_discovery import quartet_of, sent_as_asked, understood
from turnd.turn.binding import binding, has_long_term_credential, signed_binding
from turnd.turn.challenge import challenge_of
from turnd.turn.channel_bind import channel_bind
from turnd.turn.classic_binding import classic_binding
from turnd.turn.create_permission import create_permission
from turnd.turn.ending import end_allocation, forget_expired, revoke_refused_peers
from turnd.turn.events import (
    Authenticated,
    BindingAnswered,
    Challenged,
    Dropped,
    EndReason,
    FailureReason,
    MessageDropped,
    RequestRefused,
)
from turnd.turn.mobility import media_waiting, outlives, shown_allocation
from turnd.turn.refresh import refresh
from turnd.turn.request import Attributes, Refused, Request
from turnd.turn.state import ServerState
from turnd.turn.understood import UNDERSTOOD, UNDERSTOOD_WITH_TOKENS
from turnd.turn.waiting import NeedKey, WaitingRequests

if TYPE_CHECKING:
    from turnd.auth.nonce import Nonces
    from turnd.engine.base import Challenge, Leg, ListenerId
    from turnd.turn.realm import Realm

Handler = Callable[[ServerState, Request], Attributes]

_HANDLERS: Mapping[int, Handler] = {
    Method.BINDING: signed_binding,
    Method.ALLOCATE: allocate,
    Method.REFRESH: refresh,
    Method.CREATE_PERMISSION: create_permission,
    Method.CHANNEL_BIND: channel_bind,
}


@dataclass(slots=True)
class TurnServer:
    """One server; realms by the listener that a client came to."""

    state: ServerState
    nonces: Nonces
    waiting: WaitingRequests
    decoy_salt: bytes
    """Random bytes for the work done in vain for users that do not exist."""
    default_realm: Realm
    realms: Mapping[ListenerId, Realm]

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
        forget_expired(self.state, now)
        answer = self._handle(need.message, need.leg, now, outcome)
        return None if isinstance(answer, NeedKey) else answer

    def leg_closed(self, leg: Leg, now: float) -> None:
        """A client's stream ended, and its allocation with it unless that has a ticket."""
        self.waiting.forget_leg(leg)
        allocation = self.state.table.get(leg)
        if allocation is not None and not outlives(self.state, allocation, leg):
            end_allocation(self.state, allocation, EndReason.DISCONNECTED, now)

    def media_waiting(self, leg: Leg, now: float) -> None:
        """The engine holds back media of a leg: the first that a client sends from there."""
        forget_expired(self.state, now)
        media_waiting(self.state, leg)

    def expire(self, now: float) -> None:
        """Tidy up what has reached its deadline."""
        forget_expired(self.state, now)

    def end_all(self, now: float) -> None:
        """End every allocation: the process is about to."""
        for allocation in list(self.state.table):
            end_allocation(self.state, allocation, EndReason.SHUTDOWN, now)

    def policy_changed(self) -> None:
        """Take back permissions and channels that the realms' policies now refuse."""
        revoke_refused_peers(self.state)

    def realm_of(self, leg: Leg) -> Realm:
        """The realm that serves clients of this listener."""
        return self._realm_by(leg.listener)

    def challenge_by(self, listener: ListenerId) -> Challenge:
        """What first requests get by this listener: nothing that `receive` does comes before it."""
        return challenge_of(self._realm_by(listener))

    def _realm_by(self, listener: ListenerId) -> Realm:
        return self.realms.get(listener, self.default_realm)

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
            self._check_understood(message, leg)
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

    def _check_understood(self, message: Message, leg: Leg) -> None:
        """Refuse required attributes that are unknown, or known with other methods alone."""
        takes_tokens = self.realm_of(leg).credentials.third_party is not None
        numbers = UNDERSTOOD_WITH_TOKENS if takes_tokens else UNDERSTOOD
        if message.method == Method.BINDING:
            numbers |= understood(quartet_of(self.state.quartets, leg), leg)
        unknown = message.unknown_required(numbers)
        if unknown:
            raise unknown_attributes(unknown)

    def _handle(
        self, message: Message, leg: Leg, now: float, outcome: Outcome | None
    ) -> Answer | NeedKey | None:
        realm = self.realm_of(leg)
        allocation = self.state.table.get(leg)
        shown = shown_allocation(self.state, message, realm.name) or allocation
        attempt = Attempt(
            message, leg, realm, now, self.nonces, self.decoy_salt, self.state.report, shown
        )
        if is_first_request(message):
            return self._challenge(attempt)
        offers = check_nonce(attempt)
        drawn = outcome is not None  # when it began to wait
        if not (attempt.nonce_is_valid or drawn or self._within_budget(leg)):
            return None
        try:
            identity = authenticate(attempt, offers, outcome)
        except DecodeError as error:
            return error_response(message, leg, Refused(ErrorCode.BAD_REQUEST, str(error)))
        except Refused as refused:
            return error_response(message, leg, refused, self.state.settings.software)
        if isinstance(identity, NeedLookup):
            return self._wait(identity, message, leg)
        if leg.transport.is_connection:
            self.state.report(Authenticated(leg))
        request = Request(
            leg, message, now, realm, identity.credential, identity.integrity, allocation
        )
        return self._answer(request, attempt)

    def _challenge(self, attempt: Attempt) -> bytes | None:
        if not self._within_budget(attempt.leg):
            return None
        self.state.report(Challenged(attempt.leg))
        refused = Refused(ErrorCode.UNAUTHENTICATED, "no credentials yet", attempt.challenge())
        return error_response(attempt.message, attempt.leg, refused)

    def _wait(self, needed: NeedLookup, message: Message, leg: Leg) -> NeedKey | None:
        if self.waiting.joins(leg, message.transaction_id):
            return None
        need = NeedKey(needed.query, leg, message)
        if not self.waiting.add(need):
            self._dropped(leg, Dropped.WAITING_FULL)
            return None
        return need

    def _answer(self, request: Request, attempt: Attempt) -> Answer:
        """Everything after authentication; the answer is signed, whatever it is."""
        message, leg = request.message, request.leg
        software = self.state.settings.software
        try:
            self._check_expiry(request, attempt)
            self._check_understood(message, leg)
            attributes = _HANDLERS[message.method](self.state, request)
        except DecodeError as error:
            return self._refuse(request, Refused(ErrorCode.BAD_REQUEST, str(error)))
        except Refused as refused:
            return self._refuse(request, refused)
        answer = encode_message(
            message.method,
            MessageClass.SUCCESS,
            message.transaction_id,
            (*attributes, (a.SOFTWARE, software)) if software else attributes,
            integrity=request.integrity,
            fingerprint=message.has_fingerprint,
        )
        if message.method != Method.BINDING:
            return answer
        return sent_as_asked(quartet_of(self.state.quartets, leg), leg, message, answer)

    def _check_expiry(self, request: Request, attempt: Attempt) -> None:
        """A REST credential is good for new allocations until its date, a token for anything.

        An Allocate on a five-tuple that has an allocation makes none: a retransmission gets its
        first copy's answer also when the date has passed in between. Strictness is about going on:
        an end is always welcome.
        """
        message = request.message
        allocates = message.method == Method.ALLOCATE
        creates = allocates and request.allocation is None
        ends = message.method == Method.REFRESH and message.get(a.LIFETIME) == 0
        if request.credential.access is not None:
            binds = creates or not (allocates or ends)
        else:
            goes_on = message.method == Method.REFRESH and not ends
            binds = creates or (goes_on and self.state.settings.strict_expiry)
        if binds and request.credential.expired(self.state.wall_clock()):
            attempt.failed(request.credential.user, FailureReason.EXPIRED)
            raise Refused(
                ErrorCode.UNAUTHENTICATED, "the credential has expired", attempt.challenge()
            )

    def _refuse(self, request: Request, refused: Refused) -> bytes:
        self.state.report(
            RequestRefused(
                request.leg,
                request.credential.user,
                request.realm.name,
                request.message.method,
                refused.code,
                refused.why,
            )
        )
        refused.integrity = request.integrity
        return error_response(request.message, request.leg, refused, self.state.settings.software)

    def _within_budget(self, leg: Leg) -> bool:
        if leg.transport.is_connection or self.state.engine.draw(leg.client.host):
            return True
        self._dropped(leg, Dropped.OVER_BUDGET)
        return False

    def _dropped(self, leg: Leg, reason: Dropped) -> None:
        self.state.report(MessageDropped(leg, reason))
