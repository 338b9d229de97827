"""The end-to-end check behind `turnd check`: what a client would go through, step by step.

For each transport: connect, certificate (TLS), Binding, an Allocate without credentials that must
be answered with 401, Allocate, a permission, and echoes through the relay. The peer that echoes is
a second allocation on the same server; where the server refuses that (403, or 486 for a user with
one allocation), a UDP socket of this machine. A step that fails ends its transport, since those
after it need it.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from turnd.client import advice
from turnd.client.certificate import today
from turnd.client.client import TurnClient
from turnd.client.connection import ConnectOptions, client_tls
from turnd.client.echo import (
    EchoPeer,
    Probes,
    ReflexivePeer,
    RelayedPeer,
    measure,
)
from turnd.client.errors import ClientError, StunError, UnreachableError
from turnd.client.report import Report, Status, Step
from turnd.client.session import ClientOptions
from turnd.client.steps import certificate_step, echo_step, milliseconds
from turnd.client.transactions import Timing
from turnd.client.uri import STUN_PORT, Server, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, RelayedAddress, TransportAddress
from turnd.stun.errors import ErrorCode
from turnd.stun.message import Method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from turnd.client.allocating import Allocated

PATIENT = Timing(max_requests=4, last_wait=4, stream_timeout=5.5)
"""A check should end: 5.5 s without an answer are enough."""


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """How to check.

    Attributes:
        username: None: only what needs no credentials.
        password: plain.
        authorities: a PEM file to trust in place of the system's; None: the system's.
        server_name: for SNI and verification; None: the server's host.
        probes: what is sent through the relay.
        timing: how long an answer is waited for.
        wall_clock: for the certificate's days.
    """

    username: str | None = None
    password: str = field(default="", repr=False)
    authorities: str | None = None
    server_name: str | None = None
    probes: Probes = field(default_factory=Probes)
    timing: Timing = PATIENT
    wall_clock: Callable[[], datetime] = today


async def check(servers: Sequence[Server], settings: CheckSettings) -> list[Report]:
    """Check a server by each of its transports, one after the other so that times are clean."""
    udp = next((each for each in servers if each.transport is Transport.UDP), None)
    return [await _Check(server, settings, udp).run() for server in servers]


_NO_RELAY_TO_RELAY = (ErrorCode.FORBIDDEN, ErrorCode.ALLOCATION_QUOTA_REACHED)


class _Failed(Exception):  # noqa: N818 - ends a transport's check, its step is written already
    pass


class _Check:
    """The check of one transport."""

    def __init__(self, server: Server, settings: CheckSettings, udp: Server | None) -> None:
        self._server = server
        self._settings = settings
        self._udp_port = STUN_PORT if udp is None else udp.port
        self._report = Report(server)
        self._distrust: str | None = None

    async def run(self) -> Report:
        """All steps; never raises for what server or network did."""
        try:
            async with AsyncExitStack() as stack:
                await self._steps(stack)
        except _Failed:
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
            raise _Failed from error

    def _client(self) -> TurnClient:
        tls = None
        if self._server.transport is Transport.TLS:
            tls = client_tls(self._settings.authorities, verify=self._distrust is None)
        connect = ConnectOptions(tls=tls, server_name=self._settings.server_name)
        options = ClientOptions(connect=connect, timing=self._settings.timing)
        settings = self._settings
        return TurnClient(self._server, settings.username, settings.password, options)

    async def _connect(self, stack: AsyncExitStack) -> TurnClient:
        start = _now()
        async with self._failing("connect"):
            try:
                client = await stack.enter_async_context(self._client())
            except UnreachableError as error:
                if not isinstance(error.__cause__, ssl.SSLCertVerificationError):
                    raise
                self._distrust = str(error)
                client = await stack.enter_async_context(self._client())
        if self._server.transport.is_stream:
            time = milliseconds(_now() - start)
            self._note("connect", Status.OK, f"{time} ms", values={"time_ms": time})
        if client.connection.tls is not None:
            now = self._settings.wall_clock()
            self._report.steps.append(certificate_step(client.connection.tls, now, self._distrust))
        return client

    async def _binding(self, client: TurnClient) -> None:
        start = _now()
        async with self._failing("binding"):
            mapped = await client.binding()
        time = milliseconds(_now() - start)
        values = {"time_ms": time, "mapped": str(mapped), "local": str(client.connection.local)}
        self._note("binding", Status.OK, f"{time} ms, we are {mapped}", values=values)

    async def _challenge(self, client: TurnClient) -> None:
        try:
            await client.request(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)], authenticate=False)
        except StunError as error:
            await self._judge_challenge(error)
            return
        except ClientError:
            async with self._failing("challenge"):
                raise
        self._note("challenge", Status.FAILED, "allocates without credentials", advice.OPEN_RELAY)
        raise _Failed

    async def _judge_challenge(self, error: StunError) -> None:
        response = error.response
        has_both = response is not None and response.has(a.REALM) and response.has(a.NONCE)
        if error.code != ErrorCode.UNAUTHENTICATED or response is None or not has_both:
            text = str(error) if has_both else f"{error} without realm and nonce"
            fix = advice.advice(error, self._server)
            self._note("challenge", Status.FAILED, text, fix, {"code": error.code})
            raise _Failed from error
        realm = response.get(a.REALM)
        self._note("challenge", Status.OK, f"401, realm {realm}", values={"realm": realm})

    async def _allocate(self, client: TurnClient) -> RelayedAddress:
        start = _now()
        async with self._failing("allocate"):
            allocated, family = await _allocate_any(client)
        time = milliseconds(_now() - start)
        relayed = _only(allocated, family)
        algorithm = client.credentials.algorithm if client.credentials else None
        values = {
            "time_ms": time,
            "relayed": str(relayed),
            "lifetime": allocated.lifetime,
            "algorithm": algorithm.name if algorithm else None,
        }
        text = f"{relayed}, {allocated.lifetime} s, in {time} ms"
        server = client.connection.remote
        public = ip_address(server.host).is_global
        if public and not ip_address(relayed.host).is_global:
            self._note("allocate", Status.WARNING, text, advice.PRIVATE_RELAY, values)
        elif public and relayed.family is server.family and relayed.host != server.host:
            text = f"{text}; the server itself is at {server.host}"
            self._note("allocate", Status.WARNING, text, advice.ANOTHER_RELAY, values)
        else:
            self._note("allocate", Status.OK, text, values=values)
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
            if error.code not in _NO_RELAY_TO_RELAY:
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
            raise _Failed from error
        try:
            await client.create_permission(peer.address)
        except StunError as error:
            if error.code != ErrorCode.FORBIDDEN:
                raise
            text = f"{error}, for its own relayed address and for ours, {peer.address.host}"
            fix = advice.EVERY_PEER_REFUSED
            self._note("permission", Status.FAILED, text, fix, {"code": error.code})
            raise _Failed from error
        values = {"peer": str(peer.address), "peer_is": "reflexive"}
        text = f"for {peer.address}, our own address: relay to relay is refused"
        self._note("permission", Status.OK, text, values=values)
        return peer

    async def _echo(self, client: TurnClient, relayed: RelayedAddress, peer: EchoPeer) -> None:
        async with self._failing("echo"):
            result = await measure(client, peer, relayed, self._settings.probes)
        self._report.steps.append(echo_step(result))


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
