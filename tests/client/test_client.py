from __future__ import annotations

import asyncio

import pytest

from tests.client.relaying import KEY, Relaying
from tests.client.scripted import (
    PATIENT,
    PEER,
    RELAYED,
    Exchange,
    attributes_of,
    bare,
    data_indication,
    granting,
    scripted,
)
from tests.waiting import eventually
from turnd.client import client as client_module
from turnd.client.client import TurnClient
from turnd.client.errors import ClientError, StunError, UnreachableError
from turnd.client.session import ClientOptions
from turnd.client.uri import Server, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, ChannelNumber, TransportAddress
from turnd.stun.channel_data import encode_channel_data
from turnd.stun.keys import PasswordAlgorithm
from turnd.stun.message import MessageClass, Method, encode_message

OPTIONS = ClientOptions(timing=PATIENT)


def client_of(server: Server, options: ClientOptions = OPTIONS) -> TurnClient:
    return TurnClient(server, "alice", "s3cret", options)


async def test_binding_tells_our_address() -> None:
    with Relaying() as relaying:
        async with scripted(relaying) as server, bare(server.server) as client:
            assert await client.binding() == client.connection.local


async def test_a_binding_answer_without_address_is_an_error() -> None:
    async with scripted(granting()) as server, bare(server.server) as client:
        with pytest.raises(ClientError, match="no XOR-MAPPED-ADDRESS"):
            await client.binding()


class TestAllocate:
    async def test_a_port_that_was_another_clients_is_given_up(self) -> None:
        """RFC 8656 section 7.4: another address of ours, three at most."""

        def script(exchange: Exchange) -> None:
            if exchange.number < 2:
                exchange.fail(437)
            else:
                exchange.succeed((a.XOR_RELAYED_ADDRESS, RELAYED))

        async with scripted(script) as server, bare(server.server) as client:
            await client.allocate()

            assert len({each.client for each in server.seen}) == 3
            assert len({each.message.transaction_id for each in server.seen}) == 3
            assert client.connection.local == server.seen[-1].client

    async def test_after_three_addresses_the_server_is_given_up(self) -> None:
        async with (
            scripted(lambda exchange: exchange.fail(437)) as server,
            bare(server.server) as client,
        ):
            with pytest.raises(StunError, match="437"):
                await client.allocate()

            assert len({each.client for each in server.seen}) == len(server.seen) == 3

    async def test_an_allocation_of_our_own_is_not_left_for_another(self) -> None:
        def script(exchange: Exchange) -> None:
            if exchange.number == 0:
                exchange.succeed((a.XOR_RELAYED_ADDRESS, RELAYED))
            else:
                exchange.fail(437)

        async with scripted(script) as server, bare(server.server) as client:
            await client.allocate()
            with pytest.raises(StunError, match="437"):
                await client.allocate()

            assert len(server.seen) == 2
            await client.close(delete=False)

    async def test_credentials_are_used(self) -> None:
        with Relaying() as relaying:
            async with scripted(relaying) as server, client_of(server.server) as client:
                await client.allocate()

                assert client.credentials is not None
                assert client.credentials.algorithm is PasswordAlgorithm.SHA256


class TestRefresh:
    async def test_the_lifetime_granted(self) -> None:
        async with scripted(granting((a.LIFETIME, 777))) as server, bare(server.server) as client:
            assert await client.refresh() == 777
            assert await client.refresh(1000, AddressFamily.IPV6) == 777

            assert not server.seen[0].message.has(a.LIFETIME)
            assert server.seen[1].message.get(a.LIFETIME) == 1000
            assert server.seen[1].message.get(a.REQUESTED_ADDRESS_FAMILY) == AddressFamily.IPV6

    async def test_a_deleted_allocation_has_no_channels(self) -> None:
        async with scripted(granting()) as server, bare(server.server) as client:
            await client.channel_bind(PEER)
            await client.refresh(0)
            await client.send(PEER, b"x")

            await eventually(lambda: len(server.seen) == 3)
            assert server.seen[2].message.method == Method.SEND


class TestClosing:
    async def test_the_allocation_is_deleted(self) -> None:
        with Relaying() as relaying:
            async with scripted(relaying) as server:
                async with client_of(server.server) as client:
                    await client.allocate()
                    assert relaying.allocations
                assert not relaying.allocations

    async def test_it_stays_when_told(self) -> None:
        with Relaying() as relaying:
            async with scripted(relaying) as server, client_of(server.server) as client:
                await client.allocate()
                await client.close(delete=False)
                await client.close()

                assert relaying.allocations

    async def test_a_server_that_refuses_does_not_hold_us(self) -> None:
        with Relaying() as relaying:
            async with scripted(relaying) as server, client_of(server.server) as client:
                await client.allocate()
                relaying.refuse[Method.REFRESH] = 437

    async def test_a_server_that_is_silent_does_not_hold_us(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_module, "GOODBYE_LIMIT", 0.01)

        def silent(exchange: Exchange) -> None:
            if exchange.message.method == Method.ALLOCATE:
                exchange.succeed((a.XOR_RELAYED_ADDRESS, RELAYED))

        async with scripted(silent) as server, bare(server.server) as client:
            await client.allocate()

    async def test_afterwards_nothing_works(self) -> None:
        async with scripted(granting()) as server, bare(server.server) as client:
            await client.close()

            with pytest.raises(UnreachableError, match="not connected"):
                await client.send(PEER, b"x")
            with pytest.raises(UnreachableError, match="closed"):
                await client.receive()

    async def test_no_server_is_told_when_connecting(self) -> None:
        async with scripted(granting(), Transport.TCP) as server:
            gone = server.server
        with pytest.raises(UnreachableError, match="refused"):
            async with bare(gone):
                raise AssertionError("connected to nobody")


class TestPeers:
    async def test_permissions_name_all_peers(self) -> None:
        async with scripted(granting()) as server, bare(server.server) as client:
            await client.create_permission("198.51.100.7", PEER, "2001:db8::1")

            assert server.seen[0].message.get_all(a.XOR_PEER_ADDRESS) == [
                ("198.51.100.7", 0),
                PEER,
                ("2001:db8::1", 0),
            ]

    async def test_a_refused_permission_is_an_error(self) -> None:
        async with scripted(lambda e: e.fail(403)) as server, bare(server.server) as client:
            with pytest.raises(StunError, match="403"):
                await client.create_permission("10.0.0.1")

    async def test_channels_count_up_and_stay(self) -> None:
        async with scripted(granting()) as server, bare(server.server) as client:
            other = TransportAddress("198.51.100.2", 1)

            assert await client.channel_bind(PEER) == 0x4000
            assert await client.channel_bind(other) == 0x4001
            assert await client.channel_bind(PEER) == 0x4000
            assert await client.channel_bind(TransportAddress("::2", 1), 0x4FFF) == 0x4FFF
            message = server.seen[1].message
            assert message.get(a.CHANNEL_NUMBER) == 0x4001
            assert message.get(a.XOR_PEER_ADDRESS) == other

    async def test_data_goes_as_indications_then_by_channel(self) -> None:
        async with scripted(granting(), Transport.TCP) as server, bare(server.server) as client:
            await client.send(PEER, b"one")
            await client.channel_bind(PEER)
            await client.send(PEER, b"two")
            await client.send(PEER, b"three", dont_fragment=True)

            await eventually(lambda: len(server.seen) == 4)
            first, last = server.seen[0].message, server.seen[3].message
            assert first.message_class == MessageClass.INDICATION
            assert (first.get(a.XOR_PEER_ADDRESS), first.get(a.DATA)) == (PEER, b"one")
            assert not first.has(a.DONT_FRAGMENT)
            assert server.seen[2].frame == encode_channel_data(
                ChannelNumber(0x4000), b"two", padded=False
            )
            assert (last.get(a.DATA), last.has(a.DONT_FRAGMENT)) == (b"three", True)

    async def test_what_peers_send_is_received(self) -> None:
        def script(exchange: Exchange) -> None:
            exchange.succeed()
            exchange.send(data_indication((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"indication")))
            exchange.send(encode_channel_data(ChannelNumber(0x4000), b"channel", padded=False))

        async with scripted(script) as server, bare(server.server) as client:
            await client.channel_bind(PEER)

            assert await client.receive() == (PEER, b"indication")
            assert await client.receive() == (PEER, b"channel")

    async def test_icmp_errors_are_received_apart(self) -> None:
        error = a.IcmpValue(3, 4, 1280)

        def script(exchange: Exchange) -> None:
            exchange.send(data_indication((a.ICMP, error)))
            exchange.send(data_indication((a.XOR_PEER_ADDRESS, PEER), (a.ICMP, error)))
            exchange.send(data_indication((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"data")))
            exchange.succeed()

        async with scripted(script) as server, bare(server.server) as client:
            await client.refresh()

            assert await client.receive_icmp_error() == (PEER, error)
            assert await client.receive() == (PEER, b"data")
            assert client.undecodable == 1

    async def test_what_nobody_can_be_told_of_is_counted(self) -> None:
        def script(exchange: Exchange) -> None:
            exchange.send(data_indication((a.DATA, b"x")))
            exchange.send(encode_channel_data(ChannelNumber(0x4444), b"?", padded=False))
            exchange.send(b"\x40")
            exchange.succeed()

        async with scripted(script) as server, bare(server.server) as client:
            await client.refresh()

            assert client.undecodable == 3

    async def test_a_slow_reader_loses_what_is_too_much(self) -> None:
        def script(exchange: Exchange) -> None:
            for _ in range(5):
                exchange.send(data_indication((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x")))
            exchange.succeed()

        options = ClientOptions(timing=PATIENT, queue=2)
        async with scripted(script) as server, TurnClient(server.server, options=options) as client:
            await client.refresh()

            assert client.dropped == 3


async def test_low_level_requests() -> None:
    async with scripted(lambda e: e.fail(400)) as server, client_of(server.server) as client:
        request = encode_message(Method.REFRESH, MessageClass.REQUEST, b"i" * 12, ())
        response = await client.exchange(request)
        assert response.message_class == MessageClass.ERROR

        with pytest.raises(StunError, match="400"):
            await client.request(0x123, [(a.raw(0x7FFF), b"")], transaction_id=b"k" * 12)
        assert server.seen[1].message.transaction_id == b"k" * 12
        assert attributes_of(server.seen[1])[0x7FFF] == b""


async def test_requests_at_the_same_time_find_their_answers() -> None:
    with Relaying() as relaying:
        async with scripted(relaying, Transport.TCP) as server, client_of(server.server) as client:
            await client.allocate()
            hosts = [f"198.51.100.{number}" for number in range(1, 21)]

            await asyncio.gather(*(client.create_permission(host) for host in hosts))

            signed = [each for each in server.seen if each.message.verify_integrity(*KEY)]
            assert len(signed) == 21
