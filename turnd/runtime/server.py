"""The composition root: builds every part, wires them, starts and ends them."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from turnd import logs, system
from turnd.admin.http import AdminHooks, AdminServer
from turnd.admin.metrics import Metrics
from turnd.admin.snapshot import Reload
from turnd.allocations.connections import Connections
from turnd.allocations.quotas import Quotas
from turnd.allocations.reservations import Reservations
from turnd.allocations.table import AllocationTable
from turnd.engine.choose import choose_engine
from turnd.listeners.caps import StreamCaps
from turnd.listeners.deadlines import AuthenticationDeadlines
from turnd.runtime import assembly, credentials
from turnd.runtime.alternates import Alternates
from turnd.runtime.announce import announce
from turnd.runtime.beside import Beside
from turnd.runtime.core import build_turn
from turnd.runtime.ending import Ending
from turnd.runtime.endpoints import BindError, Endpoints, SettingsOf
from turnd.runtime.first_run import SECRET_FILE, own_secret
from turnd.runtime.names import Names
from turnd.runtime.peer_sockets import TcpPeerSockets
from turnd.runtime.protection import Protection
from turnd.runtime.pump import Pump
from turnd.runtime.random_numbers import RandomNumbers
from turnd.runtime.relay_watch import RelayWatch
from turnd.runtime.reload import Reloader
from turnd.runtime.snapshot import take_snapshot
from turnd.runtime.sources import Sources
from turnd.runtime.ticker import Ticker
from turnd.stun.addresses import TransportAddress
from turnd.turn.relay_addresses import RelayAddresses

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from turnd.config import Config
    from turnd.turn.server import TurnServer
    from turnd.turn.turn_allocation import TurnAllocation
    from turnd.turn.turn_connection import TurnConnection

log = logs.get_logger("turnd.runtime.server")


class Server:
    """A running server: the parts, and what makes them act."""

    turn: TurnServer
    """From `begin` on."""

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
        self.last_reload = Reload(successful=True, at=time.time())
        self.not_ready: str | None = "starting"
        self.admin_endpoint: TransportAddress | None = None
        self.certificates = assembly.certificates(config)
        self.engine, self.engine_reason = choose_engine(assembly.engine_options(config, environ))
        self.endpoints = Endpoints(
            self.engine,
            StreamCaps(config.limits.connections_per_client, config.limits.connections),
            AuthenticationDeadlines(config.streams.authentication_timeout),
            logs.report,
        )
        self.sources = Sources(self)
        self.ending = Ending(self)
        self.pump = Pump(self.engine, self.endpoints, self.sources.stores, self.ending.fail)
        numbers = RandomNumbers()
        self.peer_sockets = TcpPeerSockets()
        self.relays = RelayAddresses(self.engine, self.peer_sockets, (), numbers.below)
        self.relay_watch = RelayWatch(self, numbers.below)
        self.alternates = Alternates(self)
        self.names = Names()
        self.table: AllocationTable[TurnAllocation] = AllocationTable(
            Quotas(total=config.limits.allocations),
            Reservations(secrets.token_bytes),
            assembly.allocation_limits(config),
        )
        self.connections: Connections[TurnConnection] = Connections(
            secrets.token_bytes, assembly.connection_limits(config)
        )
        self.beside = Beside()
        self.protection = Protection(self)
        self.reloader = Reloader(self)
        self.ticker = Ticker(self)
        self.admin = AdminServer(
            AdminHooks(
                Metrics(lambda: take_snapshot(self)).text,
                lambda: self.not_ready,
                self.reloader.reload,
            )
        )
        self._state_directory = config.state_directory or system.state_directory()
        self._admin_socket = config.admin.socket or system.runtime_directory() / "admin.sock"
        self._own_secret: str | None = None

    async def bind(self) -> None:
        """Everything that root may be needed for.

        Raises:
            BindError, OSError: for what an admin has to mend.
        """
        config = self.config
        wanted = [each for realm in config.all_realms() for each in realm.endpoints]
        self.endpoints.bind(wanted, self.listener_settings(), system.listen_fds())
        self.endpoints.follow(assembly.front_rules(config, self.certificates))
        await self._listen_for_admins()
        if any(credentials.needs_own_secret(realm.auth) for realm in config.all_realms()):
            system.make_directory(self._state_directory, config.user)
            system.give_file(self.secret_file, config.user)
        if config.admin.socket is None:
            system.make_directory(self._admin_socket.parent, config.user)

    async def begin(self, user: str) -> None:
        """Serve, as the user that the process is from now on.

        Raises:
            BindError, OSError, ValueError: for what an admin has to mend.
        """
        self.sources.make()
        self.turn = build_turn(self)
        self.sources.set_limits()
        self.alternates.configure()
        try:
            await self.admin.listen_unix(self._admin_socket)
        except OSError as error:
            raise BindError(
                f"cannot listen on the admin socket {self._admin_socket}: {error.strerror}: "
                "name another one in admin.socket"
            ) from error
        await self.relay_watch.look()
        await self.protection.renew()
        self.sources.start()
        self.ticker.tell_engine(time.monotonic())
        self.peer_sockets.start(self.turn)
        self.pump.start(self.turn)
        self.endpoints.start()
        self.ticker.start()
        self.not_ready = None
        announce(self, user)

    async def stop(self) -> None:
        """End all allocations and close everything, however far the start has come."""
        served = self.not_ready != "starting"
        self.not_ready = "stopped"
        self.ticker.stop()
        self.ending.cancel()
        self.endpoints.close()
        if served:
            system.sd_notify("STOPPING=1")
            self.turn.end_all(time.monotonic())
        await self.pump.stop()
        self.peer_sockets.stop()
        await self.beside.stop()
        await self.names.close()
        self.engine.stop()
        await self.sources.close()
        await self.admin.close()
        if served:
            log.info("stopped")

    @property
    def secret_file(self) -> Path:
        """Where `the_own_secret` is kept."""
        return self._state_directory / SECRET_FILE

    def the_own_secret(self) -> str:
        """The secret that the server made for itself, kept in its state directory.

        Raises:
            OSError, ValueError: it can be neither read nor made.
        """
        if self._own_secret is None:
            self._own_secret = own_secret(self._state_directory)
        return self._own_secret

    def listener_settings(self) -> SettingsOf:
        """What holds for each socket now, by the endpoints that it serves."""
        return assembly.settings_by_socket(self.config, self.certificates)

    def reload_beside(self) -> None:
        """Read the configuration again: the signal's handler.

        Signals that come before the reading begins are one: it finds what all of them are about.
        """

        async def reload() -> None:
            await self.reloader.reload()

        if not self.reloader.awaits_turn:
            self.reloader.awaits_turn = True
            self.beside.run(reload())

    async def _listen_for_admins(self) -> None:
        listen = self.config.admin.listen
        if listen is None:
            return
        try:
            self.admin_endpoint = await self.admin.listen_tcp(
                TransportAddress(listen.host, listen.port)
            )
        except OSError as error:
            raise BindError(
                f"cannot listen on admin.listen {listen}: {error.strerror}: choose another port, "
                "or null for none"
            ) from error
