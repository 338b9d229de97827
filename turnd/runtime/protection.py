"""What of this host and its Redis no peer may be: told to the policies and to the engine."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from turnd.runtime import assembly
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turnd.runtime.server import Server

PATIENCE = 2.0
"""Seconds that a start or a reload waits for names at most."""

Named = tuple[str, int]


class Resolver:
    """Addresses of hosts and ports; a name that nobody answers for keeps what it had before."""

    def __init__(self) -> None:
        self._known: dict[Named, frozenset[TransportAddress]] = {}

    async def resolve(self, names: Iterable[Named]) -> frozenset[TransportAddress]:
        """All addresses of all names; those that are not asked for again are forgotten."""
        wanted = list(dict.fromkeys(names))
        found = await asyncio.gather(*map(self._look_up, wanted))
        self._known = dict(zip(wanted, found, strict=True))
        return frozenset[TransportAddress]().union(*found)

    async def _look_up(self, name: Named) -> frozenset[TransportAddress]:
        host, port = name
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE):
                infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):  # ValueError: no name at all, such as one of 70 characters
            return self._known.get(name, frozenset())
        return frozenset(TransportAddress(_without_zone(str(info[4][0])), port) for info in infos)


def _without_zone(host: str) -> str:
    return host.partition("%")[0]


class Protection:
    """Keeps policies and engine up to date. One for a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._resolver = Resolver()
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
