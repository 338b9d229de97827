"""Reading the configuration again while calls go on.

All or nothing: what is new is built first, and only when all of it stands does any of it take
effect. What needs a restart is named, each time, and left as it is.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from turnd import logs, system
from turnd.admin.snapshot import Reload
from turnd.config import Changes, Config, ConfigError, compare, load, until_restart
from turnd.runtime import assembly, credentials
from turnd.runtime.examine import bad_certificates, examine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turnd.listeners.certificates import Certificates
    from turnd.runtime.server import Server

log = logs.get_logger("turnd.runtime.reload")


class Plan(NamedTuple):
    """All that a reload brings into force, built and not yet in use."""

    config: Config
    changes: Changes
    certificates: Certificates | None
    sources: Mapping[str, credentials.Credentials]
    """Of realms whose `auth` has changed."""


class Reloader:
    """One for a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = asyncio.Lock()
        self.awaits_turn = False
        """Whether one is still to begin, or waits for an earlier one: it has read nothing yet."""

    async def reload(self) -> Mapping[str, object]:
        """Read and apply; `ok`, `live`, `restart` and `problems`, for `turnd reload`."""
        self.awaits_turn = True
        async with self._lock:
            self.awaits_turn = False
            if self._server.ending.begun:
                return _refused(["the server is about to end"])
            microseconds = time.monotonic_ns() // 1000
            system.sd_notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading")
            result: Mapping[str, object] = {"ok": False}
            try:
                result = await self._reload()
            finally:
                ok = result["ok"] is True
                self._server.last_reload = Reload(successful=ok, at=time.time())
                if not self._server.ending.begun:
                    system.sd_notify("READY=1\nSTATUS=serving")
            return result

    async def _reload(self) -> Mapping[str, object]:
        try:
            plan = self._plan()
        except ConfigError as error:
            return _refused([str(problem) for problem in error.problems])
        except (OSError, ValueError) as error:
            return _refused([str(error)])
        problems = await self._apply(plan)
        changes = plan.changes
        log.info("reloaded", live=changes.live, restart=changes.restart)
        if changes.restart:
            log.warning("restart_needed", keys=changes.restart)
        return {
            "ok": True,
            "live": changes.live,
            "restart": changes.restart,
            "problems": problems,
        }

    def _plan(self) -> Plan:
        server = self._server
        written = load(server.config_path, server.environ)
        changes = compare(server.config, written)
        new = _until_restart(server.config, written, changes)
        same_pairs = new.tls == server.config.tls
        served = server.certificates
        # One that has ended while it was served is no news, and no reason to refuse a new user.
        ended = () if served is None or not same_pairs else _ended(served)
        for path, message in bad_certificates(new, ended):
            log.error("certificate_refused", path=str(new.tls[int(path[1])].certificate),
                      reason=message)  # fmt: skip
        examine(new, server.config_path, server.environ, ended, runs=True)
        return Plan(
            new,
            changes,
            served if same_pairs else assembly.certificates(new),
            server.sources.of_new(new),
        )

    def renew_certificates(self) -> None:
        """Load what has changed on disk."""
        certificates = self._server.certificates
        if certificates is None:
            return
        problems = _renew(certificates)
        self._server.endpoints.configure(self._server.listener_settings())
        if not problems:
            log.info("certificates_loaded", paths=list(certificates.expiry()))

    async def _apply(self, plan: Plan) -> list[str]:
        """From here on nothing fails. Returns what stayed as it was nevertheless."""
        server, config = self._server, plan.config
        state, endpoints = server.turn.state, server.endpoints
        problems: list[str] = []
        if plan.certificates is not None and plan.certificates is server.certificates:
            problems = _renew(plan.certificates)
        server.config, server.certificates = config, plan.certificates
        for name, sources in plan.sources.items():
            await server.sources.use(name, sources)
        server.sources.set_limits()
        server.turn.realms.by_server_name = assembly.by_server_name(config, state.realms)
        server.turn.realms.by_origin = assembly.by_origin(config, state.realms)
        state.settings = assembly.turn_settings(config)
        server.alternates.configure()
        state.table.limits = assembly.allocation_limits(config)
        state.connections.limits = assembly.connection_limits(config)
        server.engine.budget(config.limits.unauthenticated_per_second)
        nonces, before = credentials.nonces(config), server.turn.nonces
        if (nonces.lifetime, nonces.mac_length) != (before.lifetime, before.mac_length):
            server.turn.nonces = nonces
        server.ticker.tell_engine(time.monotonic())
        endpoints.caps.per_client = config.limits.connections_per_client
        endpoints.caps.total = config.limits.connections
        endpoints.deadlines.patience = config.streams.authentication_timeout
        endpoints.configure(server.listener_settings())
        endpoints.follow(assembly.front_rules(config, server.certificates))
        server.log_pipe.set_level(config.log.level)
        server.log_pipe.set_lines(config.log.format, "full" if config.log.addresses else "masked")
        if "relay.addresses" in plan.changes.live:
            await server.relay_watch.look()
        await server.protection.renew()
        return problems


def _ended(certificates: Certificates) -> list[str]:
    now = time.time()
    return [path for path, end in certificates.expiry().items() if end < now]


def _renew(certificates: Certificates) -> list[str]:
    """Look at the certificate files; a pair that cannot be served stays as it was."""
    problems = certificates.reload()
    for problem in problems:
        log.error("certificate_refused", path=problem.certificate, reason=problem.message)
    return [problem.message for problem in problems]


def _refused(problems: list[str]) -> Mapping[str, object]:
    for problem in problems:
        log.error("reload_refused", problem=problem)
    return {"ok": False, "live": [], "restart": [], "problems": problems}


def _until_restart(old: Config, written: Config, changes: Changes) -> Config:
    """What may take effect of a configuration now; keeps what is still needed for the rest."""
    new = until_restart(old, written)
    serves_tls = any(
        each.needs_certificate for realm in new.all_realms() for each in realm.endpoints
    )
    if serves_tls and not new.tls:
        new = new.model_copy(update={"tls": old.tls})
        changes.live.remove("tls")
        changes.restart.insert(0, "tls")
    return new
