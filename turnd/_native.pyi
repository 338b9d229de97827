"""The native engine, built from `native/turnd-native`.

`Engine` has the verbs of `turnd.engine.base.RelayEngine`, where they are described. What is said
here is what Python needs to know beside that. Only `end` releases Python's lock, since it waits;
nothing else does, and no thread of the engine ever takes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from typing_extensions import disjoint_base

from turnd.engine.base import (
    BucketId,
    Challenge,
    CloseReason,
    EngineCounters,
    Event,
    Leg,
    ListenerId,
    ListenerSettings,
    NonceKeys,
    RelayError,
    RelayId,
    RelayReport,
    Transport,
)
from turnd.stun.addresses import (
    ChannelNumber,
    ClientAddress,
    PeerAddress,
    ServerAddress,
    TransportAddress,
)

__all__ = ["Engine", "__version__"]

__version__: str

@disjoint_base
class Engine:
    """The workers and what they were told."""

    def __new__(
        cls,
        *,
        workers: int,
        cpus: Sequence[int],
        io: str,
        manual_clock: float | None,
    ) -> Self:
        """See `turnd.engine.native.NativeEngine`.

        Raises:
            OSError: the system does not give what it needs, such as an io_uring.
            ValueError: `io` is neither auto nor epoll nor uring.
        """

    def begin(self) -> None:
        """Let the workers run.

        Raises:
            OSError: no threads are to be had.
        """

    def end(self) -> None:
        """Close everything and wait for the workers' ends."""

    def hold(self) -> None:
        """Let answers by UDP wait, and workers be told without being woken, until `release`."""

    def release(self) -> None:
        """Send the answers that wait, and wake the workers."""

    def event_fd(self) -> int:
        """A descriptor that is readable while `poll` has events."""

    def describe(self) -> tuple[str, int, list[str]]:
        """How it talks to the kernel, by how many workers, and what an admin should know of it.

        The first is `epoll` or `uring`; the last is in words.
        """

    def set_time(self, now: float) -> None:
        """Move a manual clock, when all has been done that was ordered before."""

    def listen(
        self, endpoint: TransportAddress, settings: ListenerSettings, fd: int | None = None
    ) -> ListenerId: ...
    def stream_listener(self, settings: ListenerSettings) -> ListenerId: ...
    def configure(self, listener: ListenerId, settings: ListenerSettings) -> None: ...
    def close_listener(self, listener: ListenerId) -> None: ...
    def endpoint(self, listener: ListenerId) -> TransportAddress: ...
    def adopt(
        self,
        fd: int,
        listener: ListenerId,
        transport: Transport,
        client: ClientAddress,
        local: ServerAddress,
        first_bytes: bytes = b"",
    ) -> Leg: ...
    def close_leg(self, leg: Leg, reason: CloseReason) -> None: ...
    def open_relay(
        self,
        leg: Leg | None,
        bound: TransportAddress,
        deadline: float,
        buckets: Sequence[BucketId] = (),
    ) -> RelayId | RelayError: ...
    def move(
        self, relay: RelayId, leg: Leg, deadline: float, buckets: Sequence[BucketId] = ()
    ) -> None: ...
    def hold_back(self, leg: Leg) -> None: ...
    def hand_over(self, relays: Sequence[RelayId], leg: Leg) -> None: ...
    def limit(self, bucket: BucketId, bits_per_second: int | None) -> None: ...
    def permit(self, relay: RelayId, peer_host: str, deadline: float) -> None: ...
    def bind_channel(
        self, relay: RelayId, number: ChannelNumber, peer: PeerAddress, deadline: float
    ) -> None: ...
    def extend(self, relay: RelayId, deadline: float) -> None: ...
    def close_relay(self, relay: RelayId) -> None: ...
    def protect(
        self, endpoints: Iterable[TransportAddress], own_addresses: Mapping[str, str]
    ) -> None: ...
    def budget(self, answers_per_second: int) -> None: ...
    def draw(self, host: str) -> bool: ...
    def know_nonces(self, keys: NonceKeys) -> None: ...
    def challenge(self, listener: ListenerId, challenge: Challenge | None) -> None: ...
    def send_to_client(self, leg: Leg, data: bytes, from_: ServerAddress | None = None) -> None: ...
    def splice(
        self, leg: Leg, fd: int, answer: bytes, buckets: Sequence[BucketId] = ()
    ) -> bool: ...
    def poll(self) -> Sequence[Event]: ...
    def tick(self) -> None: ...
    def counters(self) -> EngineCounters: ...
    def relay_counters(self, relay: RelayId) -> RelayReport | None: ...
