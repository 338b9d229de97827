from turnd.engine.base import CloseReason, Leg, LegClosed, ListenerSettings
from turnd.engine.fake import Call, FakeEngine
from turnd.listeners.caps import StreamCaps, StreamRefusal
from turnd.listeners.sessions import Sessions
from turnd.stun.addresses import TransportAddress


class Arriving:
    """An engine with a DTLS endpoint, and the sessions that open there."""

    def __init__(self, caps: StreamCaps) -> None:
        self.engine = FakeEngine(lambda: 0.0)
        self.caps = caps
        self.sessions = Sessions(self.engine, caps)
        endpoint = TransportAddress("192.0.2.1", 5349)
        self.listener = self.engine.listen(endpoint, ListenerSettings(dtls=True))
        self._port = 0

    def leg(self) -> Leg:
        self._port += 1
        return self.leg_of(self._port)

    def leg_of(self, port: int) -> Leg:
        client = TransportAddress("198.51.100.1", port)
        return self.engine.dtls_handshake(self.listener, client)


def test_sessions_are_counted_among_the_connections() -> None:
    arriving = Arriving(StreamCaps(per_client=2))
    assert arriving.caps.admit("198.51.100.1") is None  # one by TCP
    first, second = arriving.leg(), arriving.leg()
    assert arriving.sessions.let_in(first)
    assert not arriving.sessions.let_in(second)
    assert arriving.engine.calls[-1] == Call("close_leg", (second, CloseReason.SERVER))
    assert arriving.engine.poll() == [LegClosed(second, CloseReason.SERVER)]
    assert arriving.caps.refused[StreamRefusal.PER_CLIENT] == 1
    assert arriving.sessions.opened == 1


def test_the_place_of_one_that_has_ended_is_free() -> None:
    arriving = Arriving(StreamCaps(total=1))
    first, second = arriving.leg(), arriving.leg()
    assert arriving.sessions.let_in(first)
    assert not arriving.sessions.let_in(second)
    arriving.sessions.leg_closed(second)
    arriving.sessions.leg_closed(arriving.leg())  # a handshake that failed
    assert arriving.caps.open == 1
    arriving.sessions.leg_closed(first)
    arriving.sessions.leg_closed(first)
    assert arriving.caps.open == 0
    assert arriving.sessions.let_in(arriving.leg())


def test_one_that_takes_anothers_place_needs_no_further_one() -> None:
    """Its opening may be told of before the other's end, and there may be no room for both."""
    arriving = Arriving(StreamCaps(total=1))
    former, latter = arriving.leg_of(1), arriving.leg_of(1)
    assert arriving.sessions.let_in(former)
    assert arriving.sessions.let_in(latter)
    arriving.sessions.leg_closed(former)
    assert arriving.caps.open == 1
    arriving.sessions.leg_closed(latter)
    assert arriving.caps.open == 0
    assert arriving.sessions.opened == 2
