"""Keeps the addresses to relay from up to date: looks, decides, tells whom it concerns."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from turnd import logs
from turnd.runtime import assembly
from turnd.runtime.finding import find
from turnd.turn.address_book import AddressBook, Trouble, TroubleKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.runtime.server import Server
    from turnd.turn.address_book import Settled

log = logs.get_logger("turnd.runtime.relay_watch")


class RelayWatch:
    """One for a server. A change is for allocations to come; those that live go on as they are."""

    def __init__(self, server: Server, random_below: Callable[[int], int]) -> None:
        self.changes = 0
        """How often the addresses in force were others than before, since the start."""
        self.troubles: tuple[Trouble, ...] = ()
        self._server = server
        self._random_below = random_below
        self._book = AddressBook()
        self._lock = asyncio.Lock()
        self._has_begun = False

    def due(self, now: float) -> bool:
        """Whether it is time for another look, and none is being taken."""
        return now >= self._book.due_at and not self._lock.locked()

    async def look(self) -> None:
        """Look at every entry; takes a few seconds at most.

        Raises:
            OSError: at the start alone, out of descriptors or memory.
        """
        async with self._lock:  # a look that takes long must not undo what a later one has found
            relay = self._server.config.relay
            try:
                findings = await find(relay.addresses, self._server.names)
            except OSError as error:
                if not self._has_begun:
                    raise
                self._book.postpone(time.monotonic())
                why = str(error.strerror or error)
                self._tell(tuple(Trouble(str(e), TroubleKind.KEPT, why) for e in relay.addresses))
                return
            self._apply(self._book.settle(findings, time.monotonic(), relay.refresh_addresses))

    def _apply(self, settled: Settled) -> None:
        relays, before = self._server.relays, self._server.relays.pairs
        addresses = assembly.relay_addresses(self._server.config, settled.pairs, self._random_below)
        relays.use(addresses, settled.lacking)
        # What was announced to clients that have gone is forgotten, also where nothing has changed.
        self._server.protection.relay_addresses_changed()
        if self._has_begun and set(relays.pairs) != set(before):
            self.changes += 1
            log.info(
                "relay_addresses_changed",
                before=[str(pair) for pair in before],
                relay=[str(pair) for pair in relays.pairs],
            )
        self._has_begun = True
        self._tell(settled.troubles)

    def _tell(self, troubles: tuple[Trouble, ...]) -> None:
        """Of what is in trouble now and was not, and the other way round."""
        known = {(trouble.entry, trouble.kind) for trouble in self.troubles}
        for trouble in troubles:
            if (trouble.entry, trouble.kind) not in known:
                _tell_of(trouble)
        still = {trouble.entry for trouble in troubles}
        for entry in dict.fromkeys(trouble.entry for trouble in self.troubles):
            if entry not in still:
                log.info("relay_address_found", address=entry)
        self.troubles = troubles


def _tell_of(trouble: Trouble) -> None:
    match trouble.kind:
        case TroubleKind.NOT_HERE:
            log.warning("relay_address_not_here", address=trouble.entry, reason=trouble.why)
        case TroubleKind.UNKNOWN:
            log.error("relay_address_unknown", address=trouble.entry, reason=trouble.why)
        case TroubleKind.KEPT:
            log.warning("relay_address_kept", address=trouble.entry, reason=trouble.why)
