"""The end-to-end check behind `turnd check`: what a client would go through, step by step.

For each transport: connect, certificate (TLS, DTLS), Binding, an Allocate without credentials that
must be answered with 401, Allocate, a permission, and echoes through the relay. The peer that
echoes is a second allocation on the same server; where the server refuses that (403, or 486 for a
user with one allocation, or 300), a UDP socket of this machine. A step that fails ends its
transport, since those after it need it.

A server that answers an Allocate with 300 (Try Alternate) is done with that step, and the one that
it names is checked in its place; that one may send us nowhere else.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from turnd.client import advice
from turnd.client.allocating import UDP, Allocated
from turnd.client.client import TurnClient
from turnd.client.connection import ConnectOptions
from turnd.client.echo import EchoPeer, ReflexivePeer, RelayedPeer, measure
from turnd.client.errors import ClientError, StunError, UntrustedError
from turnd.client.redirect import Elsewhere, elsewhere
from turnd.client.report import Report, Status, Step
from turnd.client.session import ClientOptions
from turnd.client.steps import (
    allocate_step,
    certificate_step,
    challenge_step,
    connect_step,
    echo_step,
    milliseconds,
    redirect_step,
)
from turnd.client.tls import Trust
from turnd.client.uri import STUN_PORT, Server, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, RelayedAddress, TransportAddress
from turnd.stun.errors import ErrorCode
from turnd.stun.message import Method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from turnd.client.check_settings import CheckSettings


async def check(servers: Sequence[Server], settings: CheckSettings) -> list[Report]:
    """Check a server by each of its transports, one after the other so that times are clean.

    Returns:
        One report a transport; where it sends us to another server, that one's behind it.
    """
    udp = next((each.port for each in servers if each.transport is Transport.UDP), STUN_PORT)
    reports = []
    for server in servers:
        checking: _Check | None = _Check(server, settings, udp)
        while checking is not None:
            reports.append(await checking.run())
            checking = checking.sent_to
    return reports


_NO_SECOND_HERE = (
    ErrorCode.FORBIDDEN,
    ErrorCode.ALLOCATION_QUOTA_REACHED,
    ErrorCode.TRY_ALTERNATE,
)


class _Over(Exception):  # noqa: N818 - ends a transport's check, its last step is written already
    pass


class _Check:
    """The check of one transport of one server."""

    def __init__(
        self,
        server: Server,
        settings: CheckSettings,
        udp_port: int,
        former: TransportAddress | None = None,
    ) -> None:
        """`udp_port`: where it tells our own address; `former`: who has sent us here."""
        self._server = server
        self._settings = settings
        self._udp_port = udp_port
        self._former = former
        self._report = Report(server)
        self._distrust: str | None = None
        self.sent_to: _Check | None = None
        """The check of where it sends us, once it has."""

    async def run(self) -> Report:
        """All steps; never raises for what server or network did."""
        try:
            async with AsyncExitStack() as stack:
                await self._steps(stack)
        except _Over:
            pass
        return self._report

    async def _steps(self, stack: AsyncExitStack) -> None:
        client = await self._connect(stack)
        await self._binding(client)
        await self._challenge(client)
        if self._settings.username is None:
            for name in ("allocate", "permission", "echo"):
                self._note(name, Status.SKIPPED, "no credentials given", advice.NO_CREDENTIALS)
            return
        relayed = await self._allocate(client)
        peer = await self._permission(client, relayed, stack)
        await self._echo(client, relayed, peer)

    def _note(
        self,
        name: str,
        status: Status,
        text: str,
        fix: str = "",
        values: dict[str, Any] | None = None,
    ) -> None:
        self._report.steps.append(Step(name, status, text, fix, values or {}))

    @asynccontextmanager
    async def _failing(self, name: str) -> AsyncIterator[None]:
        """Errors inside fail the step `name` and end the transport's check."""
        try:
            yield
        except ClientError as error:
            values = {"code": error.code} if isinstance(error, StunError) else {}
            fix = advice.advice(error, self._server)
            self._note(name, Status.FAILED, str(error), fix, values)
            raise _Over from error

    def _client(self) -> TurnClient:
        trust = Trust(self._settings.authorities, verify=self._distrust is None)
        connect = ConnectOptions(trust=trust, server_name=self._settings.server_name)
        options = ClientOptions(connect=connect, timing=self._settings.timing)
        settings = self._settings
        return TurnClient(self._server, settings.username, settings.password, options)

    async def _connect(self, stack: AsyncExitStack) -> TurnClient:
        start = _now()
        async with self._failing("connect"):
            try:
                client = await stack.enter_async_context(self._client())
            except UntrustedError as error:
                self._distrust = str(error)
                client = await stack.enter_async_context(self._client())
        tls = client.connection.tls
        if self._server.transport is not Transport.UDP:
            self._report.steps.append(connect_step(_now() - start, tls))
        if tls is not None:
            now = self._settings.wall_clock()
            self._report.steps.append(certificate_step(tls, now, self._distrust))
        return client

    async def _binding(self, client: TurnClient) -> None:
        start = _now()
        async with self._failing("binding"):
            mapped = await client.binding()
        time = milliseconds(_now() - start)
        values = {"time_ms": time, "mapped": str(mapped), "local": str(client.connection.local)}
        self._note("binding", Status.OK, f"{time} ms, we are {mapped}", values=values)

    @asynccontextmanager
    async def _redirecting(self, client: TurnClient) -> AsyncIterator[None]:
        """An error 300 inside ends the check of this server; it goes on at the one named."""
        try:
            yield
        except StunError as error:
            if error.code != ErrorCode.TRY_ALTERNATE:
                raise
            here = client.connection.remote
            async with self._failing("redirect"):
                there = elsewhere(error, here.family)
            step = redirect_step(there, here, self._former)
            self._report.steps.append(step)
            if there is not None and step.status is Status.OK:
                self.sent_to = self._check_of(there, here)
            raise _Over from error

    def _check_of(self, there: Elsewhere, here: TransportAddress) -> _Check:
        server = there.by_transport_of(self._server)
        name = there.name(self._server, self._settings.server_name)
        udp_port = server.port if server.transport is Transport.UDP else self._udp_port
        return _Check(server, replace(self._settings, server_name=name), udp_port, here)

    async def _challenge(self, client: TurnClient) -> None:
        async with self._failing("challenge"), self._redirecting(client):
            refusal = await _refusal_of_strangers(client)
        if refusal is None:
            text = "allocates without credentials"
            self._note("challenge", Status.FAILED, text, advice.OPEN_RELAY)
            raise _Over
        step = challenge_step(refusal, self._server)
        self._report.steps.append(step)
        if step.status is Status.FAILED:
            raise _Over from refusal

    async def _allocate(self, client: TurnClient) -> RelayedAddress:
        start = _now()
        async with self._failing("allocate"), self._redirecting(client):
            allocated, family = await _allocate_any(client)
        time, relayed = _now() - start, _only(allocated, family)
        algorithm = client.credentials.algorithm if client.credentials else None
        step = allocate_step(allocated, relayed, client.connection.remote, algorithm, time)
        self._report.steps.append(step)
        return relayed

    async def _permission(
        self, client: TurnClient, relayed: RelayedAddress, stack: AsyncExitStack
    ) -> EchoPeer:
        async with self._failing("permission"):
            peer = await self._relayed_peer(client, relayed, stack)
            if peer is None:
                peer = await self._reflexive_peer(client, stack)
        return peer

    async def _relayed_peer(
        self, client: TurnClient, relayed: RelayedAddress, stack: AsyncExitStack
    ) -> EchoPeer | None:
        """A second allocation; None when the server refuses that, or relay to relay."""
        other = await stack.enter_async_context(self._client())
        try:
            allocated = await other.allocate(family=relayed.family)
            address = _only(allocated, relayed.family)
            await client.create_permission(address)
            await other.create_permission(relayed)
        except StunError as error:
            if error.code not in _NO_SECOND_HERE:
                raise
            return None
        values = {"peer": str(address), "peer_is": "relayed"}
        self._note("permission", Status.OK, f"for {address}, our other allocation", values=values)
        return RelayedPeer(other, address)

    async def _reflexive_peer(self, client: TurnClient, stack: AsyncExitStack) -> EchoPeer:
        server = TransportAddress(client.connection.remote.host, self._udp_port)
        try:
            peer = await stack.enter_async_context(ReflexivePeer(server, self._settings.timing))
        except ClientError as error:
            text = f"no peer at hand: no second allocation, and no answer by UDP port {server.port}"
            self._note("permission", Status.FAILED, text, advice.NO_PEER)
            raise _Over from error
        try:
            await client.create_permission(peer.address)
        except StunError as error:
            if error.code != ErrorCode.FORBIDDEN:
                raise
            text = f"{error}, for its own relayed address and for ours, {peer.address.host}"
            fix = advice.EVERY_PEER_REFUSED
            self._note("permission", Status.FAILED, text, fix, {"code": error.code})
            raise _Over from error
        values = {"peer": str(peer.address), "peer_is": "reflexive"}
        text = f"for {peer.address}, our own address: relay to relay is refused"
        self._note("permission", Status.OK, text, values=values)
        return peer

    async def _echo(self, client: TurnClient, relayed: RelayedAddress, peer: EchoPeer) -> None:
        async with self._failing("echo"):
            result = await measure(client, peer, relayed, self._settings.probes)
        self._report.steps.append(echo_step(result))


async def _refusal_of_strangers(client: TurnClient) -> StunError | None:
    """What an Allocate without credentials is refused with; None: it is granted."""
    try:
        await client.request(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, UDP)], authenticate=False)
    except StunError as error:
        if error.code == ErrorCode.TRY_ALTERNATE:
            raise
        return error
    return None


async def _allocate_any(client: TurnClient) -> tuple[Allocated, AddressFamily]:
    """An IPv4 relayed address, or an IPv6 one where there is no other."""
    try:
        return await client.allocate(), AddressFamily.IPV4
    except StunError as error:
        if error.code != ErrorCode.ADDRESS_FAMILY_NOT_SUPPORTED:
            raise
    return await client.allocate(family=AddressFamily.IPV6), AddressFamily.IPV6


def _only(allocated: Allocated, family: AddressFamily) -> RelayedAddress:
    return allocated.relayed_for(family) or allocated.relayed[0]


def _now() -> float:
    return asyncio.get_running_loop().time()
