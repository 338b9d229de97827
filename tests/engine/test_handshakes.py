from turnd.engine import handshakes
from turnd.engine.handshakes import Handshakes
from turnd.stun.addresses import ClientAddress, TransportAddress


def client(host: str) -> ClientAddress:
    return ClientAddress(TransportAddress(host, 5))


def test_a_network_has_so_many_handshakes_and_all_have_so_many() -> None:
    counted = Handshakes()
    for _ in range(handshakes.MOST_OF_A_NETWORK):
        assert counted.begin(client("198.51.100.1"))
    assert not counted.begin(client("198.51.100.2"))
    begun = handshakes.MOST_OF_A_NETWORK
    while counted.begin(client(f"10.{begun >> 8}.{begun & 255}.1")):
        begun += 1
    assert begun == handshakes.MOST_HANDSHAKES
    counted.end(client("198.51.100.1"))
    assert not counted.begin(client("198.51.100.3")), "it has the most already"
    assert counted.begin(client("203.0.113.1"))


def test_networks_that_take_all_they_get_leave_room_for_others() -> None:
    counted = Handshakes()
    greedy = [client(f"2001:db8:0:{number:x}00::1") for number in range(200)]
    while sum(counted.begin(each) for each in greedy):
        continue
    for number in range(2):
        assert counted.begin(client(f"198.51.{number}.1"))
