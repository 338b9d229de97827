"""What every engine does for NAT behavior discovery (RFC 5780) and clients of RFC 3489."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import ANSWER, BINDING
from tests.engine.worlds import LOOPBACK, SETTINGS
from turnd.engine.base import ClientMessage, Transport
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

if TYPE_CHECKING:
    from tests.engine.worlds import World
    from turnd.engine.base import ListenerSettings

OTHER_HOST = "127.0.0.2"
CLASSIC = BINDING[:4] + b"old!" + BINDING[8:]
HANDED_UP = replace(SETTINGS, answers_bindings=False)
TAKES_CLASSIC = replace(SETTINGS, classic_bindings=True)


def listen(world: World, host: str, settings: ListenerSettings = SETTINGS) -> ServerAddress:
    """One more endpoint, at a port that the system picks; clients come to it from now on."""
    world.listener = world.engine.listen(TransportAddress(host, 0), settings)
    return ServerAddress(world.engine.endpoint(world.listener))


class Discovery:
    @pytest.mark.parametrize("host", [LOOPBACK, OTHER_HOST])
    async def test_an_answer_leaves_from_another_endpoint(self, world: World, host: str) -> None:
        client = world.client()
        leg = world.leg(client)
        other = listen(world, host)
        world.engine.send_to_client(leg, ANSWER, other)
        assert await client.receive() == (ANSWER, other)

    async def test_also_by_ipv6(self, world: World) -> None:
        first = listen(world, "::1")
        client = world.client("::1")
        leg = world.leg(client)
        second = listen(world, "::1")
        for from_, seen in ((second, second), (first, first), (None, first)):
            world.engine.send_to_client(leg, ANSWER, from_)
            assert await client.receive() == (ANSWER, seen)

    async def test_of_an_endpoint_on_all_addresses_it_leaves_from_the_one_that_is_named(
        self, world: World
    ) -> None:
        everywhere = listen(world, "0.0.0.0")
        client = world.client()
        here = ServerAddress(everywhere._replace(host=LOOPBACK))
        leg = world.leg(client)._replace(local=here)
        there = ServerAddress(everywhere._replace(host=OTHER_HOST))
        for from_, seen in ((there, there), (here, here), (None, here)):
            world.engine.send_to_client(leg, ANSWER, from_)
            assert await client.receive() == (ANSWER, seen)

    async def test_it_may_go_to_another_port_of_the_client(self, world: World) -> None:
        asks, hears = world.client(), world.client()
        leg = world.leg(asks)._replace(client=ClientAddress(hears.address))
        other = listen(world, OTHER_HOST)
        world.engine.send_to_client(leg, ANSWER, other)
        assert await hears.receive() == (ANSWER, other)
        assert asks.has_nothing()

    @pytest.mark.parametrize("host", [OTHER_HOST, "::1"])
    async def test_from_where_nobody_listens_nothing_is_sent(self, world: World, host: str) -> None:
        client = world.client()
        nowhere = ServerAddress(TransportAddress(host, world.free_port(host)))
        world.engine.send_to_client(world.leg(client), ANSWER, nowhere)
        assert client.has_nothing()
        assert not world.drops()

    async def test_a_stream_has_no_other_way(self, world: World) -> None:
        other = listen(world, OTHER_HOST)
        stream = await world.connect(Transport.TCP)
        world.engine.send_to_client(stream.leg, ANSWER, other)
        assert await stream.receive() == ANSWER

    async def test_binding_requests_are_handed_up_where_there_is_more_to_say(
        self, world: World
    ) -> None:
        endpoint = listen(world, LOOPBACK, HANDED_UP)
        client = world.client()
        client.send(BINDING, endpoint)
        assert await world.events(1) == [ClientMessage(world.leg(client), BINDING)]
        assert client.has_nothing()

    async def test_by_streams_as_well(self, world: World) -> None:
        stream = await world.connect(Transport.TCP, HANDED_UP)
        stream.send(BINDING)
        assert await world.events(1) == [ClientMessage(stream.leg, BINDING)]

    async def test_a_request_without_cookie_is_handed_up_where_it_is_wanted(
        self, world: World
    ) -> None:
        endpoint = listen(world, LOOPBACK, TAKES_CLASSIC)
        client = world.client()
        client.send(CLASSIC, endpoint)
        assert await world.events(1) == [ClientMessage(world.leg(client), CLASSIC)]
        assert not world.drops()

    @pytest.mark.parametrize(
        "data", [CLASSIC[:19], CLASSIC + b"\0", b"\0\x02" + CLASSIC[2:], b"\xff" * 40]
    )
    async def test_all_else_without_cookie_is_no_stun(self, world: World, data: bytes) -> None:
        endpoint = listen(world, LOOPBACK, TAKES_CLASSIC)
        world.client().send(data, endpoint)
        await world.dropped(not_stun=1)

    async def test_where_it_is_not_wanted_it_is_no_stun(self, world: World) -> None:
        client = world.client()
        client.send(CLASSIC, world.engine.endpoint(world.listener))
        await world.dropped(not_stun=1)
