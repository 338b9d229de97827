"""DTLS clients of a listener; what they see of it is in `contract_dtls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from OpenSSL import SSL

from tests.engine.contract import REQUEST
from tests.engine.contract_dtls import DtlsWorld, serving
from tests.engine.socket_worlds import PortableWorld
from turnd.engine.base import CloseReason, Drop, LegClosed
from turnd.engine.dtls import DtlsSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[PortableWorld]:
    surroundings = PortableWorld()
    yield surroundings
    await surroundings.close()


async def test_nothing_stays_of_a_session(world: PortableWorld) -> None:
    dtls = DtlsWorld(world, serving())
    kept = world.engine._legs.udp_listeners[dtls.listener].associations
    assert kept is not None
    half_open = dtls.client()
    await half_open.bring_cookie()
    await half_open.pull()
    _, leg = await dtls.connect()
    assert (len(kept.handshakes), len(kept.open)) == (1, 1)
    assert len(world.engine._connections) == 2
    world.engine.close_leg(leg, CloseReason.SERVER)
    world.clock.now += 10
    world.engine.tick()
    assert (kept.handshakes, kept.open, world.engine._connections) == ({}, {}, {})
    assert not kept.doors.handshakes._by_network


@pytest.mark.parametrize(("method", "records"), [("read_one", 1), ("read", 2)])
async def test_a_session_that_fails_ends(
    world: PortableWorld, monkeypatch: pytest.MonkeyPatch, method: str, records: int
) -> None:
    dtls = DtlsWorld(world, serving())
    client, leg = await dtls.connect()

    def fail(_: DtlsSession) -> None:
        raise SSL.Error([("", "", "broken")])

    monkeypatch.setattr(DtlsSession, method, fail)
    client.push(client.record(REQUEST) * records)
    assert await world.events(1) == [LegClosed(leg, CloseReason.CLIENT)]


async def test_who_never_answers_is_given_up(
    world: PortableWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtls = DtlsWorld(world, serving())
    client = dtls.client()
    await client.bring_cookie()
    await client.pull()

    def often_enough(_: DtlsSession) -> None:
        raise SSL.Error([("", "", "read timeout expired")])

    monkeypatch.setattr(DtlsSession, "repeat", often_enough)
    world.engine.tick()
    (closed,) = await world.events(1)
    assert isinstance(closed, LegClosed)
    assert closed.reason is CloseReason.HANDSHAKE_TIMEOUT


async def test_what_cannot_be_sent_is_one_lost_datagram(
    world: PortableWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtls = DtlsWorld(world, serving())
    kept = world.engine._legs.udp_listeners[dtls.listener].associations
    assert kept is not None

    def refuse(*_: object) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(kept, "_route_to", lambda _: (refuse, None))
    client = dtls.client()
    client.push(client.flight())
    await world.dropped(**{Drop.REFUSED: 1})
