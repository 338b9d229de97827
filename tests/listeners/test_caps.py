from hypothesis import given
from hypothesis import strategies as st

from turnd.listeners.caps import StreamCaps, StreamRefusal


def test_a_client_may_have_so_many() -> None:
    caps = StreamCaps(per_client=2)
    assert caps.admit("198.51.100.1") is None
    assert caps.admit("198.51.100.1") is None
    assert caps.admit("198.51.100.1") is StreamRefusal.PER_CLIENT
    assert caps.admit("198.51.100.2") is None
    assert caps.refused[StreamRefusal.PER_CLIENT] == 1
    assert (caps.open, caps.of_client("198.51.100.1")) == (3, 2)


def test_a_place_that_is_released_is_free() -> None:
    caps = StreamCaps(per_client=1)
    caps.admit("198.51.100.1")
    caps.release("198.51.100.1")
    assert caps.admit("198.51.100.1") is None


def test_all_together_may_have_so_many() -> None:
    caps = StreamCaps(per_client=0, total=2)
    caps.admit("198.51.100.1")
    caps.admit("198.51.100.2")
    assert caps.admit("198.51.100.3") is StreamRefusal.TOTAL
    caps.release("198.51.100.1")
    assert caps.admit("198.51.100.3") is None


def test_an_ipv6_client_cannot_multiply_by_its_own_addresses() -> None:
    caps = StreamCaps(per_client=1)
    assert caps.admit("2001:db8:1:2::1") is None
    assert caps.admit("2001:db8:1:2:ffff::9") is StreamRefusal.PER_CLIENT
    assert caps.admit("2001:db8:1:3::1") is None


def test_limits_change_live() -> None:
    caps = StreamCaps(per_client=1)
    caps.admit("198.51.100.1")
    caps.per_client = 2
    assert caps.admit("198.51.100.1") is None


@given(st.lists(st.integers(0, 3), max_size=60))
def test_what_was_let_in_and_left_leaves_nothing_behind(clients: list[int]) -> None:
    caps = StreamCaps(per_client=3, total=7)
    inside = [host for n in clients if caps.admit(host := f"198.51.100.{n}") is None]
    assert caps.open == len(inside) <= 7
    for host in inside:
        caps.release(host)
    assert caps.open == 0
    assert caps._by_client == {}


def test_a_stream_that_is_named_later_counts_for_its_client_then() -> None:
    caps = StreamCaps(per_client=1, total=3)
    assert caps.admit(None) is None
    assert caps.admit(None) is None
    assert (caps.open, caps.of_client("198.51.100.1")) == (2, 0)
    assert caps.name("198.51.100.1") is None
    assert caps.name("198.51.100.1") is StreamRefusal.PER_CLIENT
    assert caps.admit(None) is None
    assert caps.admit(None) is StreamRefusal.TOTAL
    caps.release("198.51.100.1")
    caps.release(None)
    caps.release(None)
    assert (caps.open, caps.of_client("198.51.100.1")) == (0, 0)
