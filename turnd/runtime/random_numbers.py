"""Unpredictable numbers, without a call of the system for each."""

from __future__ import annotations

import os
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PAGE = Struct("=512Q")


class RandomNumbers:
    """Numbers of the system's generator, read a page ahead.

    Args:
        random_bytes: `n -> n` unpredictable bytes.
    """

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._page: Iterator[int] = iter(())

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1, none of them likelier than another by 2**-48.

        `limit` is at most 2**16, enough for ports and addresses: 64 random bits are scaled.
        """
        number = next(self._page, None)
        if number is None:
            self._page = iter(_PAGE.unpack(self._random_bytes(_PAGE.size)))
            number = next(self._page)
        return number * limit >> 64
