from __future__ import annotations

from tests.turn.fake_peer_sockets import FakePeerSockets
from turnd.runtime.peer_sockets import TcpPeerSockets
from turnd.turn.peer_sockets import PeerSockets


def test_what_the_core_is_tested_with_and_what_runs_are_the_same_door() -> None:
    doors: tuple[PeerSockets, ...] = (FakePeerSockets(), TcpPeerSockets())
    for verb in ("listen", "close", "connect", "take", "drop"):
        assert callable(getattr(PeerSockets, verb))
        assert all(callable(getattr(door, verb)) for door in doors)
