from __future__ import annotations

import pytest

from tests.client.scripted import PEER, RELAYED, RELAYED6, attributes_of, bare, granting, scripted
from turnd.client.errors import ClientError
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily


async def test_what_is_got() -> None:
    token = b"12345678"
    script = granting(
        (a.XOR_RELAYED_ADDRESS, RELAYED),
        (a.XOR_RELAYED_ADDRESS, RELAYED6),
        (a.XOR_MAPPED_ADDRESS, PEER),
        (a.LIFETIME, 1200),
        (a.RESERVATION_TOKEN, token),
    )
    async with scripted(script) as server, bare(server.server) as client:
        allocated = await client.allocate()

        assert allocated.relayed == (RELAYED, RELAYED6)
        assert allocated.relayed_for(AddressFamily.IPV6) == RELAYED6
        assert allocated.relayed_for(AddressFamily.IPV4) == RELAYED
        assert allocated.mapped == PEER
        assert allocated.lifetime == 1200
        assert allocated.reservation_token == token
        assert set(attributes_of(server.seen[0])) == {
            a.REQUESTED_TRANSPORT.number,
            a.FINGERPRINT.number,
        }
        assert server.seen[0].message.get(a.REQUESTED_TRANSPORT) == 17


async def test_every_wish_is_its_attribute() -> None:
    async with (
        scripted(granting((a.XOR_RELAYED_ADDRESS, RELAYED))) as server,
        bare(server.server) as client,
    ):
        allocated = await client.allocate(
            family=AddressFamily.IPV6,
            additional_family=AddressFamily.IPV6,
            even_port=True,
            reservation_token=b"abcdefgh",
            lifetime=42,
            dont_fragment=True,
            transport=6,
        )

        message = server.seen[0].message
        assert message.get(a.REQUESTED_TRANSPORT) == 6
        assert message.get(a.REQUESTED_ADDRESS_FAMILY) == AddressFamily.IPV6
        assert message.get(a.ADDITIONAL_ADDRESS_FAMILY) == AddressFamily.IPV6
        assert message.get(a.EVEN_PORT) is True
        assert message.get(a.RESERVATION_TOKEN) == b"abcdefgh"
        assert message.get(a.LIFETIME) == 42
        assert message.has(a.DONT_FRAGMENT)
        assert allocated.relayed_for(AddressFamily.IPV6) is None
        assert allocated.lifetime == 0


async def test_an_even_port_without_the_next() -> None:
    async with (
        scripted(granting((a.XOR_RELAYED_ADDRESS, RELAYED))) as server,
        bare(server.server) as client,
    ):
        await client.allocate(even_port=False, dont_fragment=False)

        assert server.seen[0].message.get(a.EVEN_PORT) is False
        assert not server.seen[0].message.has(a.DONT_FRAGMENT)


async def test_an_answer_without_address_is_an_error() -> None:
    async with scripted(granting()) as server, bare(server.server) as client:
        with pytest.raises(ClientError, match="no XOR-RELAYED-ADDRESS"):
            await client.allocate()
