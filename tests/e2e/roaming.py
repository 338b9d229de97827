"""A client that moves while media flows; run in a network of its own as `python -m`.

On standard input: one line of JSON, `Journey`. On standard output: one, `Diary`. Every packet has
a number and comes back from an echo, so that what was lost on either way, or came twice, is known.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from turnd.client.client import TurnClient
from turnd.client.connection import ConnectOptions
from turnd.client.session import ClientOptions
from turnd.client.tls import Trust
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY = 0.005
"""Seconds between packets."""
ENOUGH = 40
"""Packets that come back by each path before the client moves on."""
LIMIT = 40.0
LATE = 5.0
"""Seconds after the last packet for what took a slower path."""


@dataclass
class Step:
    """One change of path."""

    to: str
    """A URI."""
    local: str | None = None
    """The address to send from."""
    first: tuple[str, ...] = ()
    """A command to run before it: what happens to the network."""
    is_smooth: bool = True
    """Whether the old path works until the new one does; else what is lost does not count."""
    hangs_up: bool = False
    """Whether the old connection is closed before."""


@dataclass
class Journey:
    """What to do."""

    start: str
    user: str
    password: str
    peer: tuple[str, int]
    steps: list[Step]
    local: str | None = None


@dataclass
class Diary:
    """What became of it."""

    sent: int = 0
    lost: list[int] = field(default_factory=list)
    """Numbers that did not come back, of those sent while a path was there."""
    twice: list[int] = field(default_factory=list)
    from_: list[str] = field(default_factory=list)
    """Our own addresses, path by path."""


class Flow:
    """Numbered packets to an echo, all the time."""

    def __init__(self, client: TurnClient, peer: TransportAddress) -> None:
        self.client = client
        self.peer = peer
        self.sent = 0
        self.back: Counter[int] = Counter()
        self.excused: set[int] = set()

    async def send(self) -> None:
        while True:
            number, self.sent = self.sent, self.sent + 1
            await self.client.send(self.peer, number.to_bytes(4))
            await asyncio.sleep(EVERY)

    async def receive(self) -> None:
        while True:
            _, data = await self.client.receive()
            self.back[int.from_bytes(data)] += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():  # noqa: ASYNC110 - what is counted comes every few ms
                await asyncio.sleep(EVERY)

    async def stragglers(self) -> None:
        """Until all have come back that can, or for a while."""
        missing = set(range(self.sent)) - self.excused
        with suppress(TimeoutError):
            async with asyncio.timeout(LATE):
                await self.until(lambda: missing <= self.back.keys())

    async def more(self) -> None:
        """Until so many packets that are sent from now on have come back."""
        begin = self.sent
        await self.until(lambda: sum(number >= begin for number in self.back) >= ENOUGH)


class Traveller:
    """Keeps a flow going over all steps."""

    def __init__(self, client: TurnClient, journey: Journey) -> None:
        self.journey = journey
        self.client = client
        self.flow = Flow(client, TransportAddress(*journey.peer))
        self.diary = Diary()

    async def run(self) -> Diary:
        await self.client.allocate(mobility=True)
        await self.client.channel_bind(self.flow.peer)
        tasks = self._begin()
        for step in self.journey.steps:
            await self.flow.more()
            self.diary.from_.append(str(self.client.connection.local))
            if step.is_smooth:
                await self._move(step)
            else:
                tasks = await self._jump(step, tasks)
        await self.flow.more()
        self.diary.from_.append(str(self.client.connection.local))
        await self._end(tasks[:1])
        last = self.flow.sent - 1
        await self.flow.until(lambda: last in self.flow.back)
        await self.flow.stragglers()
        await self._end(tasks[1:])
        numbers = range(self.flow.sent)
        self.diary.sent = self.flow.sent
        self.diary.lost = [
            n for n in numbers if n not in self.flow.back and n not in self.flow.excused
        ]
        self.diary.twice = [n for n, times in self.flow.back.items() if times > 1]
        return self.diary

    def _begin(self) -> list[asyncio.Task[None]]:
        return [
            asyncio.create_task(self.flow.send()),
            asyncio.create_task(self.flow.receive()),
        ]

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _move(self, step: Step) -> None:
        if step.first:
            await self._happens(step)
        await self.client.move(step.to, options(step.local).connect)
        await self.flow.more()
        await self.client.leave()

    async def _jump(self, step: Step, tasks: list[asyncio.Task[None]]) -> list[asyncio.Task[None]]:
        """The old path breaks first: what is under way or sent meanwhile is lost."""
        await self._end(tasks)
        begin = self.flow.sent
        # What has not come back by now may be lost with the path.
        self.flow.excused.update(n for n in range(begin) if n not in self.flow.back)
        if step.hangs_up:
            await self.client.connection.close()
        if step.first:
            await self._happens(step)
        await self.client.move(step.to, options(step.local).connect)
        return self._begin()

    async def _happens(self, step: Step) -> None:
        await asyncio.to_thread(subprocess.run, step.first, check=True)


def options(local: str | None) -> ClientOptions:
    return ClientOptions(ConnectOptions(Trust(verify=False), local_host=local))


async def main(journey: Journey) -> Diary:
    client = TurnClient(journey.start, journey.user, journey.password, options(journey.local))
    async with client:
        return await Traveller(client, journey).run()


def read(text: str) -> Journey:
    parts: dict[str, Any] = json.loads(text)
    parts["steps"] = [Step(**step) for step in parts["steps"]]
    return Journey(**parts)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(main(read(sys.stdin.readline()))))))
