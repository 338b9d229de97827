from __future__ import annotations

from tests.turn.requests import request
from turnd.engine.base import Transport
from turnd.turn.redirect_memory import LIFETIME, RedirectMemory

TOLD = ()


def test_who_was_redirected_is_remembered_for_a_while() -> None:
    memory = RedirectMemory()
    first = request()
    assert memory.of(first) is None
    memory.add(first, TOLD)
    sent = memory.of(request(now=LIFETIME - 0.1))
    assert sent is not None
    assert (sent.transaction_id, sent.attributes) == (first.message.transaction_id, TOLD)
    assert memory.of(request(now=LIFETIME)) is None
    assert len(memory) == 0


def test_by_another_port_or_transport_a_client_is_another() -> None:
    memory = RedirectMemory()
    memory.add(request(), TOLD)
    assert memory.of(request(port=2)) is None
    assert memory.of(request(transport=Transport.TCP)) is None


def test_so_many_of_a_user_at_a_host_and_no_more() -> None:
    memory = RedirectMemory(most_each=2)
    for port in (1, 2):
        assert memory.admits(request(port=port))
        memory.add(request(port=port), TOLD)
    assert not memory.admits(request(port=3))
    assert memory.admits(request(port=3, user="bob"))
    assert memory.admits(request(port=3, host="203.0.113.6"))
    assert memory.admits(request(port=3, transport=Transport.TLS))
    late = request(port=3, now=LIFETIME)
    assert memory.of(late) is None
    assert memory.admits(late)


def test_beyond_the_bound_the_oldest_is_forgotten() -> None:
    memory = RedirectMemory(most=2)
    for port in (1, 2, 3):
        memory.add(request(port=port), TOLD)
    assert len(memory) == 2
    assert memory.of(request(port=1)) is None
    assert memory.of(request(port=3)) is not None
