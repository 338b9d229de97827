"""Who was redirected a moment ago, so that two full servers do not play ball with a client.

RFC 8489 section 10 has a client remember for itself where it was. Of those that do not, some bear
the nonce that they were sent here with (`Request.sent_here`); this is for the others.

Rules
    1.  A five-tuple that was redirected is not redirected again while it is remembered: it has come
        back. Its retransmission gets the answer that was lost.
    2.  A client may come back by another port. Of one user, client host and transport so many are
        redirected in that time and no more: enough for calls that begin together, and an end for
        whoever goes round in circles.
    3.  Only authenticated requests are remembered, for a short time, and a bounded number: beyond,
        the oldest is forgotten.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from turnd.turn.request import Attributes, Request

LIFETIME = 30.0
"""Seconds: going round takes a client a few round trips. Later it is a new attempt of a user."""
MOST = 8192
MOST_EACH = 32

_Who = tuple[str, str, str, str]


class Sent(NamedTuple):
    """A redirect that was answered."""

    transaction_id: bytes
    attributes: Attributes
    who: _Who
    until: float


@dataclass(slots=True)
class RedirectMemory:
    """One for a server."""

    most: int = MOST
    most_each: int = MOST_EACH
    _sent: OrderedDict[object, Sent] = field(default_factory=OrderedDict)
    """By leg, the oldest first."""
    _each: Counter[_Who] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self._sent)

    def of(self, request: Request) -> Sent | None:
        """What this five-tuple was told."""
        self._forget(request.now)
        return self._sent.get(request.leg)

    def admits(self, request: Request) -> bool:
        """Whether one more of this user, client host and transport may be redirected."""
        return self._each[_who(request)] < self.most_each

    def add(self, request: Request, attributes: Attributes) -> None:
        """A five-tuple that is not remembered was told to go there."""
        if len(self._sent) >= self.most:
            self._drop_oldest()
        who = _who(request)
        self._each[who] += 1
        until = request.now + LIFETIME
        self._sent[request.leg] = Sent(request.message.transaction_id, attributes, who, until)

    def _forget(self, now: float) -> None:
        while self._sent and next(iter(self._sent.values())).until <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, sent = self._sent.popitem(last=False)
        self._each[sent.who] -= 1
        if not self._each[sent.who]:
            del self._each[sent.who]


def _who(request: Request) -> _Who:
    leg = request.leg
    user = request.credential.quota_user
    return request.realm.name, user, leg.client.host, str(leg.transport)
