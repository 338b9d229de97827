"""How many ICMP errors a client is told of."""

from turnd.engine.base import ICMP_PER_SECOND
from turnd.engine.icmp import IcmpRate


def test_a_second_has_room_for_some() -> None:
    rate = IcmpRate(5.0)
    assert [rate.admits(5.5) for _ in range(ICMP_PER_SECOND + 2)].count(True) == ICMP_PER_SECOND
    assert not rate.admits(5.999)
    assert rate.admits(6.0)
