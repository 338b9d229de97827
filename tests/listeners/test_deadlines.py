from hypothesis import given
from hypothesis import strategies as st

from turnd.engine.base import Leg, ListenerId, Transport
from turnd.listeners.deadlines import AuthenticationDeadlines
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

LOCAL = ServerAddress(TransportAddress("192.0.2.1", 3478))


def leg(stream: int) -> Leg:
    client = ClientAddress(TransportAddress("198.51.100.7", 40000))
    return Leg(ListenerId(1), Transport.TCP, LOCAL, client, stream)


def test_overdue_exactly_at_the_end_of_its_time() -> None:
    deadlines = AuthenticationDeadlines(30.0)
    deadlines.add(leg(1), now=100.0)
    deadlines.add(leg(2), now=101.0)
    assert deadlines.next_deadline() == 130.0
    assert deadlines.overdue(129.999) == []
    assert deadlines.overdue(130.0) == [leg(1)]
    assert deadlines.next_deadline() == 131.0


def test_a_leg_is_named_once() -> None:
    deadlines = AuthenticationDeadlines(30.0)
    deadlines.add(leg(1), now=0.0)
    assert deadlines.overdue(31.0) == [leg(1)]
    assert deadlines.overdue(32.0) == []
    assert deadlines.next_deadline() is None


def test_who_authenticated_may_stay_for_ever() -> None:
    deadlines = AuthenticationDeadlines(30.0)
    deadlines.add(leg(1), now=0.0)
    deadlines.authenticated(leg(1))
    deadlines.authenticated(leg(1))
    assert deadlines.overdue(1e9) == []
    assert len(deadlines) == 0


def test_who_left_is_forgotten() -> None:
    deadlines = AuthenticationDeadlines(30.0)
    deadlines.add(leg(1), now=0.0)
    deadlines.removed(leg(1))
    deadlines.removed(leg(2))
    assert len(deadlines) == 0
    assert deadlines.overdue(1e9) == []


def test_adding_again_does_not_prolong() -> None:
    deadlines = AuthenticationDeadlines(30.0)
    deadlines.add(leg(1), now=0.0)
    deadlines.add(leg(1), now=20.0)
    assert deadlines.overdue(30.0) == [leg(1)]


def test_another_patience_holds_for_those_who_wait() -> None:
    deadlines = AuthenticationDeadlines(30.0)
    deadlines.add(leg(1), now=0.0)
    deadlines.patience = 5.0
    assert deadlines.overdue(5.0) == [leg(1)]


@given(st.lists(st.tuples(st.sampled_from(["add", "authenticated", "removed"]), st.integers(0, 9))))
def test_overdue_are_those_who_came_long_ago_and_did_nothing(steps: list[tuple[str, int]]) -> None:
    deadlines = AuthenticationDeadlines(10.0)
    model: dict[Leg, float] = {}
    for now, (verb, stream) in enumerate(steps):
        if verb == "add":
            deadlines.add(leg(stream), float(now))
            model.setdefault(leg(stream), float(now))
        else:
            getattr(deadlines, verb)(leg(stream))
            model.pop(leg(stream), None)
    end = float(len(steps))
    assert set(deadlines.overdue(end)) == {key for key, since in model.items() if end - since >= 10}
