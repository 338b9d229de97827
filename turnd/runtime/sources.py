"""Who may use each realm, and how much: the sources of credentials, and the quotas they bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd import logs
from turnd.auth.store_cache import StoreHooks
from turnd.runtime import assembly, credentials

if TYPE_CHECKING:
    from turnd.auth.redis_store import RedisStore
    from turnd.config import Config
    from turnd.runtime.server import Server


class Sources:
    """The sources of all realms of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._by_realm: dict[str, credentials.Credentials] = {}
        self.stores: dict[str, RedisStore] = {}
        """By realm, where there is Redis."""

    def __getitem__(self, realm: str) -> credentials.Credentials:
        return self._by_realm[realm]

    def make(self) -> None:
        """Build those of the configuration, stores not started yet.

        Raises:
            OSError, ValueError: see `credentials.build`.
        """
        for realm in self._server.config.all_realms():
            hooks = self._hooks(realm.name)
            made = credentials.build(realm, self._server.the_own_secret, hooks)
            self._by_realm[realm.name] = made
            if made.store is not None:
                self.stores[realm.name] = made.store

    def start(self) -> None:
        """Reach for every Redis, in the background."""
        for store in self.stores.values():
            store.start()

    async def close(self) -> None:
        """Leave every Redis."""
        for store in self.stores.values():
            await store.close()

    def of_new(self, new: Config) -> dict[str, credentials.Credentials]:
        """Build what another configuration has different, without any effect yet.

        Raises:
            OSError, ValueError: see `credentials.build`.
        """
        return {
            realm.name: credentials.build(
                realm,
                self._server.the_own_secret,
                self._hooks(realm.name),
                self._by_realm[realm.name],
            )
            for realm in new.all_realms()
            if realm.auth != self._by_realm[realm.name].auth
        }

    async def use(self, realm: str, made: credentials.Credentials) -> None:
        """Let other sources of a realm take effect."""
        old = self.stores.pop(realm, None)
        made.rest.use_configured_secrets(made.secrets)
        self._by_realm[realm] = made
        served = self._server.turn.state.realms[realm]
        served.credentials, served.strict_expiry = made.chain, made.auth.strict_expiry
        if made.store is not None:
            self.stores[realm] = made.store
        if old is made.store:
            return
        if made.store is not None:
            made.store.start()
        if old is not None:
            await old.close()

    def set_limits(self) -> None:
        """Put the limits of the configuration, and those that Redis holds, into force."""
        config, state = self._server.config, self._server.turn.state
        self._server.table.quotas.total = config.limits.allocations
        for realm in config.all_realms():
            store = self.stores.get(realm.name)
            options = assembly.NO_OPTIONS if store is None else store.realm_options
            assembly.set_realm_quotas(state.realms[realm.name].quotas, config, realm, options)
            state.realms[realm.name].bandwidth = assembly.bandwidth_limits(realm)
        total = config.limits.bandwidth_total
        state.bandwidth.set_limits(total, state.realms.values(), state.table)

    def _hooks(self, realm: str) -> StoreHooks:
        def report(event: str, reason: str) -> None:
            level = "info" if event == "redis_back" else "warning"
            why = {"reason": reason} if reason else {}
            logs.report(event, level=level, realm=realm, **why)

        def changed() -> None:
            self.set_limits()
            self._server.beside.run(self._server.protection.refresh())

        return StoreHooks(report, changed)
