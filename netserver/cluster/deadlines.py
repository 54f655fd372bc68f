"""What waits for an answer from elsewhere, and what becomes of it when there is none."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# How exactly deadlines are kept, seconds.
GRAIN = 0.02

MOST = 1 << 32


class Deadlines(Generic[T]):
    """Things that wait, by number, each until its deadline. Owned by the cluster's thread.

    Args:
        expire: Called with the number and the thing whose time is up.
    """

    def __init__(self, expire: Callable[[int, T], None]) -> None:
        self._expire = expire
        self._things: dict[int, T] = {}
        # When, and whose turn; of those that wait no longer, some remain for a while.
        self._due: list[tuple[float, int]] = []
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._things)

    def add(self, thing: T, seconds: float) -> int:
        """One more that waits; its number, which is not 0."""
        while True:
            self._next = self._next % (MOST - 1) + 1
            if self._next not in self._things:
                break
        self._things[self._next] = thing
        self.hurry(self._next, seconds)
        return self._next

    def hurry(self, number: int, seconds: float) -> None:
        """It waits at most so much longer."""
        loop = asyncio.get_running_loop()
        heapq.heappush(self._due, (loop.time() + seconds, number))
        if len(self._due) > 2 * len(self._things) + 1000:
            self._due = [due for due in self._due if due[1] in self._things]
            heapq.heapify(self._due)
        if self._timer is None or self._due[0][1] == number:
            self._schedule()

    def look_at(self, number: int) -> T | None:
        """What waits under a number; None for nothing."""
        return self._things.get(number)

    def take(self, number: int) -> T | None:
        """What waits under a number, which waits no longer; None for nothing."""
        return self._things.pop(number, None)

    def take_all(self) -> list[tuple[int, T]]:
        """Everything, which waits no longer."""
        things, self._things = self._things, {}
        self._due.clear()
        return list(things.items())

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(max(self._due[0][0], loop.time() + GRAIN), self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._due and (self._due[0][0] <= now or self._due[0][1] not in self._things):
            _, number = heapq.heappop(self._due)
            thing = self._things.pop(number, None)
            if thing is not None:
                self._expire(number, thing)
        if self._due:
            self._schedule()
