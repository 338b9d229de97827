"""A bounded queue that ends with a reason."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from turnd.client.errors import ClientError

T = TypeVar("T")


class Inbox(Generic[T]):
    """What has come and was not read yet; beyond `limit` the newest is dropped and counted."""

    def __init__(self, limit: int) -> None:
        self._items: deque[T] = deque()
        self._limit = limit
        self._changed = asyncio.Event()
        self._error: ClientError | None = None
        self.dropped = 0

    def put(self, item: T) -> None:
        """Add an item, if there is room."""
        if len(self._items) >= self._limit:
            self.dropped += 1
            return
        self._items.append(item)
        self._changed.set()

    def close(self, error: ClientError) -> None:
        """Nothing more will come; who waits gets `error` once all is read."""
        self._error = self._error or error
        self._changed.set()

    async def get(self) -> T:
        """The oldest item; waits for one.

        Raises:
            ClientError: what `close` was given.
        """
        while not self._items:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()
