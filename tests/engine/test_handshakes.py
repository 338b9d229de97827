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
    while counted.begin(client(f"10.0.{begun % 250}.1")):
        begun += 1
    assert begun == handshakes.MOST_HANDSHAKES
    counted.end(client("198.51.100.1"))
    assert counted.begin(client("198.51.100.3"))
