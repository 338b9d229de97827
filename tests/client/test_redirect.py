"""A client that is sent elsewhere, by servers that answer as a test scripts them."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.client.relaying import KEY, NONCE, OFFER, REALM, Relaying
from tests.client.scripted import (
    PATIENT,
    REQUEST,
    Exchange,
    Script,
    Scripted,
    scripted,
)
from turnd.client.client import TurnClient
from turnd.client.connection import ConnectOptions
from turnd.client.errors import ClientError, IntegrityError, StunError, UnreachableError
from turnd.client.redirect import Elsewhere, elsewhere
from turnd.client.session import ClientOptions
from turnd.client.tls import Trust
from turnd.client.uri import Server, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.message import MessageClass, decode_untrusted, encode_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.certificates import Authority

IPV4, IPV6 = AddressFamily.IPV4, AddressFamily.IPV6
RELAYED = TransportAddress("203.0.113.7", 50000)
FOLLOWING = ClientOptions(timing=PATIENT, follow_redirects=True)
NO_SERVER = TransportAddress("127.0.0.1", 9)


def granting(exchange: Exchange) -> None:
    exchange.succeed((a.XOR_RELAYED_ADDRESS, RELAYED), (a.LIFETIME, 0))


def sending_to(*servers: TransportAddress, domain: str | None = None) -> Script:
    named = [] if domain is None else [(a.ALTERNATE_DOMAIN, domain)]
    return lambda exchange: exchange.fail(
        300, *((a.ALTERNATE_SERVER, server) for server in servers), *named
    )


def tls_for(authority: Authority, name: str) -> ssl.SSLContext:
    pair = authority.issue(f"redirect-{name}", 30, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def start(
    stack: AsyncExitStack, script: Script, transport: Transport = Transport.UDP
) -> tuple[Scripted, TransportAddress]:
    running = await stack.enter_async_context(scripted(script, transport))
    return running, TransportAddress(running.server.host, running.server.port)


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
async def test_it_goes_there_by_the_same_transport(
    stack: AsyncExitStack, transport: Transport
) -> None:
    _, there = await start(stack, granting, transport)
    first, _ = await start(stack, sending_to(TransportAddress("::1", 9), there), transport)
    async with TurnClient(first.server, options=FOLLOWING) as client:
        allocated = await client.allocate()
        assert allocated.relayed == (RELAYED,)
        assert client.connection.remote == there
        assert client.server == Server(*there, transport)
        assert len(first.seen) == 1


def guarded(script: Script) -> Script:
    """Only for alice, and what the script says is said unsigned."""

    def challenge(exchange: Exchange) -> None:
        if exchange.message.verify_integrity(*KEY):
            script(exchange)
        else:
            exchange.fail(401, (a.REALM, REALM), (a.NONCE, NONCE), (a.PASSWORD_ALGORITHMS, OFFER))

    return challenge


def signed_redirect(server: TransportAddress) -> Script:
    return guarded(lambda each: each.fail(300, (a.ALTERNATE_SERVER, server), integrity=KEY))


async def test_it_proves_itself_there_with_the_same_credentials(stack: AsyncExitStack) -> None:
    relaying = stack.enter_context(Relaying())
    _, there = await start(stack, relaying)
    first, _ = await start(stack, signed_redirect(there))
    async with TurnClient(first.server, "alice", "s3cret", FOLLOWING) as client:
        await client.allocate()
        assert len(relaying.allocations) == 1
    assert not relaying.allocations
    assert len(first.seen) == 2


async def test_it_follows_nobody_who_does_not_know_the_password(stack: AsyncExitStack) -> None:
    script = guarded(sending_to(NO_SERVER))
    first, here = await start(stack, script, Transport.TCP)
    async with TurnClient(first.server, "alice", "s3cret", FOLLOWING) as client:
        with pytest.raises(IntegrityError, match="unsigned answer"):
            await client.allocate()
        assert client.connection.remote == here


async def test_it_stays_unless_it_is_told_to_follow(stack: AsyncExitStack) -> None:
    first, here = await start(stack, sending_to(NO_SERVER))
    options = replace(FOLLOWING, follow_redirects=False)
    async with TurnClient(first.server, options=options) as client:
        with pytest.raises(StunError, match="300"):
            await client.allocate()
        assert client.connection.remote == here


async def test_two_servers_do_not_play_ball_with_it(stack: AsyncExitStack) -> None:
    places: list[TransportAddress] = []
    second, there = await start(stack, sending_to(*places))
    first, here = await start(stack, sending_to(there))
    places.append(here)
    async with TurnClient(first.server, options=FOLLOWING) as client:
        with pytest.raises(StunError, match="300"):
            await client.allocate()
    assert (len(first.seen), len(second.seen)) == (1, 1)


async def test_there_is_nobody(stack: AsyncExitStack) -> None:
    gone, nowhere = await start(stack, granting, Transport.TCP)
    await stack.aclose()
    assert not gone.seen
    async with (
        scripted(sending_to(nowhere), Transport.TCP) as first,
        TurnClient(first.server, options=FOLLOWING) as client,
    ):
        with pytest.raises(UnreachableError):
            await client.allocate()


async def test_the_certificate_is_that_of_the_other_server(authority: Authority) -> None:
    """ALTERNATE-DOMAIN says whose; without it, it is the one that was asked for first."""
    contexts = {name: tls_for(authority, name) for name in ("a.example", "b.example")}
    for domain, certificate, ok in (
        ("b.example", "b.example", True),
        (None, "a.example", True),
        ("b.example", "a.example", False),
        (None, "b.example", False),
    ):
        async with (
            scripted(granting, Transport.TLS, contexts[certificate]) as second,
            AsyncExitStack() as stack,
        ):
            there = TransportAddress(second.server.host, second.server.port)
            script = sending_to(there, domain=domain)
            first = await stack.enter_async_context(
                scripted(script, Transport.TLS, contexts["a.example"])
            )
            trust = Trust(str(authority.file))
            connect = ConnectOptions(trust=trust, server_name="a.example")
            client = TurnClient(first.server, options=replace(FOLLOWING, connect=connect))
            await stack.enter_async_context(client)
            if ok:
                assert (await client.allocate()).relayed == (RELAYED,)
            else:
                with pytest.raises(UnreachableError, match="certificate"):
                    await client.allocate()


def answered(script: Script) -> StunError:
    """The error that a scripted answer makes."""
    request = decode_untrusted(REQUEST)
    sent: list[bytes] = []
    script(Exchange(REQUEST, 0, TransportAddress("127.0.0.1", 1), sent.append))
    response = decode_untrusted(sent[0])
    assert response.transaction_id == request.transaction_id
    return StunError(300, "", response)


def test_which_of_them() -> None:
    ours = TransportAddress("2001:db8::8", 443)
    error = answered(sending_to(NO_SERVER, ours, domain="b.example"))
    assert elsewhere(error, IPV6) == Elsewhere(ours, "b.example")
    assert elsewhere(error, IPV4) == Elsewhere(NO_SERVER, "b.example")
    assert elsewhere(answered(sending_to(NO_SERVER)), IPV6) is None
    assert elsewhere(StunError(300, ""), IPV4) is None
    assert elsewhere(StunError(508, "", error.response), IPV4) is None


def test_a_malformed_alternate_is_an_error() -> None:
    broken = bytearray(
        encode_message(1, MessageClass.ERROR, bytes(12), [(a.ALTERNATE_SERVER, NO_SERVER)])
    )
    broken[25] = 9  # the address family
    response = decode_untrusted(bytes(broken))
    with pytest.raises(ClientError, match="ALTERNATE-SERVER is malformed"):
        elsewhere(StunError(300, "", response), IPV4)


def test_where_and_under_which_name() -> None:
    former = Server("turn.example", 443, Transport.TLS)
    there = Elsewhere(NO_SERVER, None)
    assert there.by_transport_of(former) == Server(*NO_SERVER, Transport.TLS)
    assert there.name(former, None) == "turn.example"
    assert there.name(former, "a.example") == "a.example"
    assert there._replace(domain="b.example").name(former, "a.example") == "b.example"
