"""Looking up host names beside the packets: bounded in time and in number."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from ipaddress import ip_address

PATIENCE = 2.0
"""Seconds that an answer is waited for."""


class UnknownNameError(Exception):
    """Nobody says an address for a name; the text says why."""


class Names:
    """Asks the system's resolver, in a thread a name.

    It may take far longer than anybody waits. A name is not asked for again while it is still being
    asked for, so that there are never more threads than names.
    """

    def __init__(self) -> None:
        self._asking: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def look_up(self, name: str) -> tuple[str, ...]:
        """The addresses of a name in canonical text, in the resolver's order.

        An address is its own.

        Raises:
            UnknownNameError: no such name, no answer, or none in time.
        """
        try:
            return (str(ip_address(name)),)
        except ValueError:
            pass
        task = self._asking.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(_ask(name))
            self._asking[name] = task
            task.add_done_callback(lambda done: self._answered(name, done))
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(task)
        except TimeoutError:
            raise UnknownNameError(f"no answer for {name} in {PATIENCE:g} s") from None

    async def close(self) -> None:
        """Wait for nobody any more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _answered(self, name: str, done: asyncio.Task[tuple[str, ...]]) -> None:
        del self._asking[name]
        if not done.cancelled():
            done.exception()  # told to who still waits; nobody may


async def _ask(name: str) -> tuple[str, ...]:
    answer: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
    # Of its own and a daemon: the end of the process waits for the loop's pool, and not for this.
    thread = threading.Thread(target=_resolve, args=(name, answer), name="turnd-names", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise UnknownNameError(f"{name}: {error}") from None
    return await answer


def _resolve(name: str, answer: asyncio.Future[tuple[str, ...]]) -> None:
    """In a thread of its own: ask, and tell the loop, if there is still one."""
    result: tuple[str, ...] | UnknownNameError
    try:
        infos = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, ValueError) as error:  # ValueError: a label of more than 63 characters
        why = getattr(error, "strerror", None) or error
        result = UnknownNameError(f"{name}: {str(why).lower()}")
    else:
        hosts = (str(info[4][0]).partition("%")[0] for info in infos)
        result = tuple(dict.fromkeys(str(ip_address(host)) for host in hosts))
    with contextlib.suppress(RuntimeError):  # the loop has ended: nobody wants to know
        answer.get_loop().call_soon_threadsafe(_settle, answer, result)


def _settle(
    answer: asyncio.Future[tuple[str, ...]], result: tuple[str, ...] | UnknownNameError
) -> None:
    if answer.done():
        return  # cancelled
    if isinstance(result, UnknownNameError):
        answer.set_exception(result)
    else:
        answer.set_result(result)
