"""The composition root: builds every part, wires them, owns timers, signals, drain and the end.

Order at start: read the configuration, bind everything, give up root, then begin. Nothing that can
fail for an admin's reasons is left for after the first packet.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import sys
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path

from turnd import logs, system
from turnd.admin.http import AdminHooks, AdminServer
from turnd.admin.metrics import Metrics, Reload
from turnd.allocations.quotas import Quotas
from turnd.allocations.reservations import Reservations
from turnd.allocations.table import AllocationTable
from turnd.auth.redis_store import RedisStore, StoreHooks
from turnd.config import Config, ConfigError, find_config_file, load
from turnd.engine.base import ListenerId, ListenerSettings
from turnd.engine.choose import EngineUnavailableError, choose_engine
from turnd.listeners.caps import StreamCaps
from turnd.listeners.certificates import CertificateError
from turnd.listeners.deadlines import AuthenticationDeadlines
from turnd.runtime import assembly
from turnd.runtime.announce import announce
from turnd.runtime.endpoints import BindError, Endpoints, resolve
from turnd.runtime.first_run import own_secret
from turnd.runtime.pump import Pump
from turnd.runtime.reload import Reloader
from turnd.runtime.snapshot import take_snapshot
from turnd.stun.addresses import TransportAddress
from turnd.turn.budget import AnswerBudget
from turnd.turn.realm import Realm
from turnd.turn.relay_addresses import RelayAddresses
from turnd.turn.server import TurnServer
from turnd.turn.state import ServerState
from turnd.turn.waiting import WaitingRequests

EX_OK, EX_UNAVAILABLE, EX_NOPERM, EX_CONFIG = 0, 69, 77, 78

_TICK = 1.0
_CERTIFICATES_EVERY = 5
"""Ticks between two looks at the certificate files."""

log = logs.get_logger("turnd.app")


def run(config_path: Path | None, environ: Mapping[str, str] | None = None) -> int:
    """Serve until a signal says otherwise; returns the process's exit status (sysexits.h)."""
    environ = os.environ if environ is None else environ
    path = find_config_file(config_path)
    try:
        config = load(path, environ)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for who has started it
        return EX_CONFIG
    pipe = logs.configure(
        config.log.format, config.log.level, "full" if config.log.addresses else "masked"
    )
    try:
        return asyncio.run(_serve(config, path, environ, pipe))
    finally:
        pipe.stop()


async def _serve(
    config: Config, path: Path | None, environ: Mapping[str, str], pipe: logs.LogPipe
) -> int:
    try:
        server = Server(config, path, environ, pipe)
        await server.start()
    except (CertificateError, EngineUnavailableError, ValueError) as error:
        return _give_up(error, EX_CONFIG)
    except BindError as error:
        return _give_up(error, EX_NOPERM)
    except (OSError, LookupError) as error:
        return _give_up(error, EX_UNAVAILABLE)
    await server.ended.wait()
    await server.stop()
    return EX_OK


def _give_up(why: Exception, status: int) -> int:
    print(f"turnd: {why}", file=sys.stderr)  # noqa: T201 - for who has started it
    return status


def _spare_the_collector() -> None:
    """What lives as long as the server is never looked at again, and the rest less often.

    The server's own objects hold no cycles that allocations would leave behind; a full collection
    over thousands of allocations would be a pause in every call.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class Server:
    """A running server: the parts, and what makes them act."""

    turn: TurnServer
    """From `start` on."""

    def __init__(
        self,
        config: Config,
        config_path: Path | None,
        environ: Mapping[str, str],
        log_pipe: logs.LogPipe,
    ) -> None:
        self.config = config
        self.config_path = config_path
        self.environ = environ
        self.log_pipe = log_pipe
        self.ended = asyncio.Event()
        self.last_reload = Reload(successful=True, at=time.time())
        self.engine, self.engine_reason = choose_engine(config.engine)
        self.certificates = assembly.certificates(config)
        self.endpoints = Endpoints(
            self.engine,
            StreamCaps(config.limits.connections_per_client, config.limits.connections),
            AuthenticationDeadlines(config.streams.authentication_timeout),
            logs.report,
        )
        self.stores: dict[str, RedisStore] = {}
        self.pump = Pump(self.engine, self.endpoints, self.stores)
        self.relays = RelayAddresses(
            self.engine, assembly.relay_addresses(config), secrets.randbelow
        )
        self.reloader = Reloader(self)
        self.admin = AdminServer(
            AdminHooks(
                Metrics(lambda: take_snapshot(self)).text,
                lambda: self.not_ready,
                self.reloader.reload,
            )
        )
        self.not_ready: str | None = "starting"
        self._admin_endpoint: TransportAddress | None = None
        self._directory = config.state_directory or system.state_directory()
        self._own_secret: str | None = None
        self._beside: set[asyncio.Future[None]] = set()
        self._drain_ends_at: float | None = None
        self._ticks = 0
        self._watchdog = system.watchdog_interval() or 0.0
        self._watchdog_due = 0.0

    async def start(self) -> None:
        """Bind, give up root, begin.

        Raises:
            BindError, OSError, ValueError, LookupError: for what an admin has to mend.
        """
        system.raise_descriptor_limit()
        config = self.config
        wanted = [each for realm in config.all_realms() for each in realm.endpoints]
        self.endpoints.bind(wanted, *self.listener_settings(), system.listen_fds())
        await self._listen_for_admins()
        runtime = system.runtime_directory()
        system.make_directory(self._directory, config.user)
        system.make_directory(runtime, config.user)
        realms = self._build_realms()
        identity = system.drop_privileges(config.user)
        await self.admin.listen_unix(config.admin.socket or runtime / "admin.sock")
        self.turn = self._build_turn(realms)
        await self.protect()
        for store in self.stores.values():
            store.start()
        self.pump.start(self.turn)
        self.endpoints.start()
        self._install_signals()
        self.not_ready = None
        announce(self, identity.user)
        self._tick()
        _spare_the_collector()
        system.sd_notify("READY=1\nSTATUS=serving")

    async def stop(self) -> None:
        """End all allocations and close everything."""
        system.sd_notify("STOPPING=1")
        self.endpoints.close()
        self.turn.end_all(time.monotonic())
        self.pump.stop()
        self.engine.stop()
        for work in self._beside:
            work.cancel()
        for store in self.stores.values():
            await store.close()
        await self.admin.close()
        log.info("stopped")

    def the_own_secret(self) -> str:
        """The secret that the server made for itself, kept in its state directory."""
        if self._own_secret is None:
            self._own_secret = own_secret(self._directory)
        return self._own_secret

    def listener_settings(self) -> tuple[ListenerSettings, ListenerSettings]:
        """For plain endpoints, and for those of TLS."""
        return (
            assembly.listener_settings(self.config),
            assembly.listener_settings(self.config, self.certificates),
        )

    def store_hooks(self, realm: str) -> StoreHooks:
        """What a realm's Redis store tells."""

        def report(event: str, reason: str) -> None:
            level = "info" if event == "redis_back" else "warning"
            logs.report(event, level=level, realm=realm, reason=reason)

        return StoreHooks(report, lambda: self.run_beside(self.protect()))

    async def replace_store(self, realm: str, store: RedisStore | None) -> None:
        """Another Redis, or none, for a realm."""
        old = self.stores.pop(realm, None)
        if store is not None:
            self.stores[realm] = store
            store.start()
        if old is not None:
            await old.close()

    async def protect(self) -> None:
        """Tell policies and engine what of this host is never to be reached."""
        endpoints = {address for _, address in self.endpoints.bound()}
        if self._admin_endpoint is not None:
            endpoints.add(self._admin_endpoint)
        for store in self.stores.values():
            endpoints |= await resolve(store.endpoints)
        own = assembly.own_addresses(list(self.relays), endpoints)
        self.engine.protect(own.endpoints, own.announced)
        for realm in self.config.all_realms():
            known = self.turn.state.realms.get(realm.name)
            if known is not None:
                known.policy = assembly.peer_policy(realm.peers, own)
        self.turn.policy_changed()

    def run_beside(self, work: Coroutine[None, None, None]) -> None:
        """Let a coroutine run; the end of the server ends it."""
        task = asyncio.ensure_future(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _listen_for_admins(self) -> None:
        listen = self.config.admin.listen
        if listen is None:
            return
        try:
            self._admin_endpoint = await self.admin.listen_tcp(
                TransportAddress(listen.host, listen.port)
            )
        except OSError as error:
            raise BindError(
                f"cannot listen on admin.listen {listen}: {error.strerror}: choose another port, "
                "or null for none"
            ) from error

    def _build_realms(self) -> dict[str, Realm]:
        own = assembly.own_addresses([], [])  # `protect` tells the policies the rest
        realms = {}
        for realm in self.config.all_realms():
            sources = assembly.credentials(realm, self.the_own_secret, self.store_hooks(realm.name))
            realms[realm.name] = assembly.build_realm(self.config, realm, sources.chain, own)
            if sources.store is not None:
                self.stores[realm.name] = sources.store
        return realms

    def _build_turn(self, realms: dict[str, Realm]) -> TurnServer:
        config = self.config
        by_listener: dict[ListenerId, Realm] = {
            self.endpoints.by_endpoint[endpoint]: realms[realm.name]
            for realm in config.all_realms()
            for endpoint in realm.endpoints
            if endpoint in self.endpoints.by_endpoint
        }
        table = AllocationTable(
            Quotas(total=config.limits.allocations),
            Reservations(secrets.token_bytes),
            assembly.allocation_limits(config),
        )
        return TurnServer(
            state=ServerState(
                settings=assembly.turn_settings(config),
                table=table,
                relays=self.relays,
                engine=self.engine,
                realms=realms,
                report=self.pump.report,
                wall_clock=time.time,
            ),
            nonces=assembly.nonces(config),
            budget=AnswerBudget(config.limits.unauthenticated_per_second),
            waiting=WaitingRequests(),
            decoy_salt=secrets.token_bytes(32),
            default_realm=realms[config.realm],
            realms=by_listener,
        )

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain, number.name)
        loop.add_signal_handler(signal.SIGHUP, lambda: self.run_beside(self._reload()))
        loop.add_signal_handler(signal.SIGUSR2, self.reloader.renew_certificates)
        # Admins of other servers reopen logs with it; ours go to standard output.
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)

    async def _reload(self) -> None:
        await self.reloader.reload()

    def _drain(self, name: str) -> None:
        """No new allocations; the end comes with the last, after a while, or when asked twice."""
        if self._drain_ends_at is not None:
            log.info("stopping", signal=name, allocations=len(self.turn.state.table))
            self.ended.set()
            return
        timeout = self.config.shutdown.timeout
        self._drain_ends_at = time.monotonic() + timeout
        self.not_ready = "draining"
        self.turn.state.draining = True
        count = len(self.turn.state.table)
        log.info("draining", signal=name, allocations=count, seconds=timeout)
        self._end_when_drained(time.monotonic())

    def _end_when_drained(self, now: float) -> None:
        if self._drain_ends_at is None:
            return
        if not len(self.turn.state.table) or now >= self._drain_ends_at:
            self.ended.set()
            return
        asyncio.get_running_loop().call_later(
            min(0.05, self._drain_ends_at - now),
            lambda: self._end_when_drained(time.monotonic()),
        )

    def _tick(self) -> None:
        """Once a second: what has come to its end, files that changed, a sign of life."""
        now = time.monotonic()
        asyncio.get_running_loop().call_later(_TICK, self._tick)
        self._ticks += 1
        self.turn.expire(now)
        self.endpoints.close_overdue(now)
        self.engine.tick()
        looks = self._ticks % _CERTIFICATES_EVERY == 0
        if looks and self.certificates is not None and self.certificates.changed():
            self.reloader.renew_certificates()
        if self._watchdog and now >= self._watchdog_due:
            self._watchdog_due = now + self._watchdog
            system.sd_notify("WATCHDOG=1")
