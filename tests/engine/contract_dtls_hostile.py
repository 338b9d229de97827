"""What whoever is up to no good may send by DTLS, from their own addresses and from others'.

Made up at random, the same in every run: nobody else's session may end, and no worker break.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import REQUEST
from tests.engine.contract_dtls import DtlsWorld, serving
from tests.engine.dtls_client import AES_GCM, HANDSHAKE, DtlsClient, fragment, plain
from turnd.engine.base import ClientMessage
from turnd.stun.dtls_records import cut_at_records

if TYPE_CHECKING:
    from tests.engine.socket_worlds import SocketWorld
    from turnd.engine.base import Leg

ALERTS = [bytes([level, kind]) for level in (1, 2) for kind in (0, 10, 40, 90, 100)]


class Forger:
    """Makes datagrams up."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def record(self, real: bytes) -> bytes:
        """Something like a record, from one that a client might have sent."""
        random = self._random
        match random.randrange(6):
            case 0:
                forged = bytearray(real)
                forged[0] = random.choice([20, 21, 22, 23, 24, 63])
                for _ in range(random.randrange(1, 4)):
                    forged[random.randrange(1, len(real))] = random.randrange(256)
                return bytes(forged)
            case 1:
                return real[: random.randrange(1, len(real))]
            case 2:
                return plain(
                    21, random.choice(ALERTS), random.randrange(5_000), random.randrange(3)
                )
            case 3:
                return real[:11] + random.randbytes(2) + real[13:]
            case 4:
                return bytes([random.randrange(20, 64)]) + random.randbytes(random.randrange(90))
            case _:
                return plain(HANDSHAKE, self.body(), random.randrange(5_000), random.randrange(3))

    def body(self) -> bytes:
        """Of a record, of whatever kind."""
        random = self._random
        part = random.randbytes(random.randrange(60))
        length = random.choice([len(part), random.randrange(4_000)])
        message = fragment(random.randrange(25), length, random.randrange(8), part)
        return random.choice([b"", b"\1", part, REQUEST, message, *ALERTS])

    def sealed(self, client: DtlsClient, number: int) -> bytes:
        """A few records that only the client can have made."""
        random = self._random
        kinds = random.choices([20, 21, 22, 23, 24, 63], k=random.randrange(1, 4))
        return b"".join(client.sealed(kind, self.body(), number) for kind in kinds)


class Hostile:
    @staticmethod
    async def _answers(world: SocketWorld, client: DtlsClient, leg: Leg) -> None:
        """A session is there, whatever is told of others."""
        client.send(REQUEST)
        told = await world.until(
            lambda: [event for event in world.engine.poll() if event.leg == leg]
        )
        assert told == [ClientMessage(leg, REQUEST)]

    @pytest.mark.parametrize("seed", range(3))
    async def test_nobody_ends_anothers_session(self, world: SocketWorld, seed: int) -> None:
        dtls = DtlsWorld(world, serving())
        forger, stranger, hello = Forger(seed), world.client(), dtls.client().flight()
        client, leg = await dtls.connect()
        for _ in range(40):
            real = client.record(REQUEST)
            for _ in range(5):
                stranger.send(forger.record(hello), dtls.server)
                client.push(forger.record(real))
            await self._answers(world, client, leg)
            while not stranger.has_nothing():
                continue
        assert world.engine.faults == 0

    @pytest.mark.parametrize("seed", range(3))
    async def test_a_client_harms_itself_alone(self, world: SocketWorld, seed: int) -> None:
        dtls = DtlsWorld(world, serving())
        forger = Forger(seed)
        bystander, leg = await dtls.connect()
        for number in range(20):
            client = dtls.client(ciphers=AES_GCM)
            await client.bring_cookie()
            await client.pull()
            flight = cut_at_records(client.flight(), 1)
            for place, datagram in enumerate(flight):
                if place == number % 4:
                    client.push(forger.sealed(client, 1 + place))
                client.push(datagram)
            for more in range(5):
                client.push(forger.sealed(client, 10 + more))
            await self._answers(world, bystander, leg)
        assert world.engine.faults == 0
