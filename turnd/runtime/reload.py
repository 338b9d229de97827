"""Reading the configuration again while calls go on.

All or nothing: what is new is built first, and only when all of it stands does any of it take
effect. What needs a restart is named and left as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from turnd import logs, system
from turnd.admin.metrics import Reload
from turnd.config import Config, ConfigError, compare, load
from turnd.listeners.certificates import CertificateError, Certificates
from turnd.runtime import assembly

if TYPE_CHECKING:
    from turnd.app import Server

log = logs.get_logger("turnd.runtime.reload")


class Reloader:
    """One for a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = asyncio.Lock()

    async def reload(self) -> Mapping[str, object]:
        """Read and apply; `ok`, `live`, `restart` and `problems`, for `turnd reload`."""
        async with self._lock:
            system.sd_notify("STATUS=reading the configuration again")
            result = await self._reload()
            ok = bool(result["ok"])
            self._server.last_reload = Reload(successful=ok, at=time.time())
            system.sd_notify("STATUS=serving")
            return result

    async def _reload(self) -> Mapping[str, object]:
        server = self._server
        try:
            new = load(server.config_path, server.environ)
            certificates = self._certificates(new)
            chains = self._chains(new)
        except ConfigError as error:
            return _refused([str(problem) for problem in error.problems])
        except (CertificateError, OSError, ValueError) as error:
            return _refused([str(error)])
        problems = [] if certificates is None else self._renew(certificates)
        changes = compare(server.config, new)
        server.config = _with_what_needs_a_restart(server.config, new)
        server.certificates = certificates
        await self._apply(chains)
        log.info("reloaded", live=changes.live, restart=changes.restart)
        if changes.restart:
            log.warning("restart_needed", keys=changes.restart)
        return {
            "ok": not problems,
            "live": changes.live,
            "restart": changes.restart,
            "problems": problems,
        }

    def _certificates(self, new: Config) -> Certificates | None:
        if new.tls == self._server.config.tls:
            return self._server.certificates
        return assembly.certificates(new)

    def _renew(self, certificates: Certificates) -> list[str]:
        """Look at the certificate files; a pair that cannot be served stays as it was."""
        problems = certificates.reload()
        for problem in problems:
            log.error("certificate_refused", path=problem.certificate, reason=problem.message)
        return [problem.message for problem in problems]

    def renew_certificates(self) -> None:
        """Load what has changed on disk."""
        certificates = self._server.certificates
        if certificates is not None and not self._renew(certificates):
            log.info("certificates_loaded", paths=list(certificates.expiry()))

    def _chains(self, new: Config) -> dict[str, assembly.Credentials]:
        """New credential chains for the realms whose sources have changed."""
        server = self._server
        before = {realm.name: realm for realm in server.config.all_realms()}
        return {
            realm.name: assembly.credentials(
                realm, server.the_own_secret, server.store_hooks(realm.name)
            )
            for realm in new.all_realms()
            if realm.name in before and realm.auth != before[realm.name].auth
        }

    async def _apply(self, chains: dict[str, assembly.Credentials]) -> None:
        server = self._server
        config, state = server.config, server.turn.state
        for name, credentials in chains.items():
            state.realms[name].credentials = credentials.chain
            await server.replace_store(name, credentials.store)
        for realm in config.all_realms():
            if realm.name in state.realms:
                assembly.set_realm_quotas(state.realms[realm.name].quotas, config, realm)
        state.settings = assembly.turn_settings(config)
        state.table.quotas.total = config.limits.allocations
        state.table.limits = assembly.allocation_limits(config)
        server.turn.budget.per_second = config.limits.unauthenticated_per_second
        if server.turn.nonces.lifetime != config.auth.nonce_lifetime:
            server.turn.nonces = assembly.nonces(config)
        endpoints = server.endpoints
        endpoints.caps.per_client = config.limits.connections_per_client
        endpoints.caps.total = config.limits.connections
        endpoints.deadlines.patience = config.streams.authentication_timeout
        endpoints.configure(*server.listener_settings())
        await server.protect()
        server.log_pipe.set_level(config.log.level)
        server.log_pipe.set_lines(config.log.format, "full" if config.log.addresses else "masked")


def _refused(problems: list[str]) -> Mapping[str, object]:
    for problem in problems:
        log.error("reload_refused", problem=problem)
    return {"ok": False, "live": [], "restart": [], "problems": problems}


def _with_what_needs_a_restart(old: Config, new: Config) -> Config:
    """The new configuration, with the old values of what only a restart can change.

    So that a later reload goes on naming it, and nothing half-applied is taken for real.
    """
    return new.model_copy(
        update={
            name: getattr(old, name)
            for name in (
                "realm", "software", "listen", "admin", "engine", "workers", "user",
                "state_directory", "sockets",
            )
        }
        | {
            "relay": new.relay.model_copy(
                update={
                    name: getattr(old.relay, name) for name in ("addresses", "ports", "port_rest")
                }
            ),
        }
    )  # fmt: skip
