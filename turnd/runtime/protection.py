"""What of this host and its Redis no peer may be: told to the policies and to the engine."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from turnd.runtime import assembly
from turnd.runtime.names import UnknownNameError
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turnd.runtime.names import Names
    from turnd.runtime.server import Server

Named = tuple[str, int]


class Resolver:
    """Addresses of hosts and ports; a name that nobody answers for keeps what it had before."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[Named, frozenset[TransportAddress]] = {}

    async def resolve(self, names: Iterable[Named]) -> frozenset[TransportAddress]:
        """All addresses of all names; those that are not asked for again are forgotten."""
        wanted = list(dict.fromkeys(names))
        found = await asyncio.gather(*map(self._look_up, wanted))
        self._known = dict(zip(wanted, found, strict=True))
        return frozenset[TransportAddress]().union(*found)

    async def _look_up(self, name: Named) -> frozenset[TransportAddress]:
        host, port = name
        try:
            found = await self._names.look_up(host)
        except UnknownNameError:
            return self._known.get(name, frozenset())
        return frozenset(TransportAddress(address, port) for address in found)


class Protection:
    """Keeps policies and engine up to date. One for a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._resolver = Resolver(server.names)
        self._lock = asyncio.Lock()
        self._endpoints: set[TransportAddress] | None = None
        self._own: assembly.OwnAddresses | None = None

    async def refresh(self) -> None:
        """Look again at this host's addresses and Redis's; tell of them where they changed."""
        await self._apply(anew=False)

    async def renew(self) -> None:
        """The same, and build the policies anew: the configuration has changed."""
        await self._apply(anew=True)

    def relay_addresses_changed(self) -> None:
        """Tell of them at once: no allocation may be known by one that the engine does not know."""
        if self._endpoints is not None:
            self._tell(self._endpoints, anew=False)

    async def _apply(self, *, anew: bool) -> None:
        server = self._server
        async with self._lock:  # a look that takes long must not undo what a later one has found
            names = [name for store in server.sources.stores.values() for name in store.endpoints]
            endpoints = {address for _, address in server.endpoints.bound()}
            if server.admin_endpoint is not None:
                endpoints.add(server.admin_endpoint)
            endpoints |= await self._resolver.resolve(names)
            self._endpoints = endpoints
            self._tell(endpoints, anew=anew)

    def _tell(self, endpoints: set[TransportAddress], *, anew: bool) -> None:
        server = self._server
        own = assembly.own_addresses(server.relays.known, endpoints)
        # The order of what is announced says which is in force.
        same = own == self._own and list(own.announced) == list(self._own.announced)
        self._own = own
        if not same:
            server.engine.protect(own.endpoints, own.announced)
        elif not anew:
            return
        for realm in server.config.all_realms():
            server.turn.state.realms[realm.name].policy = assembly.peer_policy(realm.peers, own)
        server.turn.policy_changed(time.monotonic())
