"""What waits for an answer from elsewhere, and what becomes of it when there is none."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# How exactly deadlines are kept, seconds.
GRAIN = 0.02

MOST = 1 << 32


class Deadlines(Generic[T]):
    """Things that wait, by number, each until its deadline. Owned by the cluster's thread.

    Nearly all wait equally long, and those that came first are answered first: so there is a queue
    for each length of time, from whose front what was answered is dropped in passing.

    Args:
        expire: Called with the number and the thing whose time is up.
    """

    def __init__(self, expire: Callable[[int, T], None]) -> None:
        self._expire = expire
        self._things: dict[int, T] = {}
        self._queues: dict[float, deque[tuple[float, int]]] = {}  # when, and whose turn
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
        due = asyncio.get_running_loop().time() + seconds
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = deque()
        things = self._things
        while queue and queue[0][1] not in things:
            queue.popleft()
        queue.append((due, number))
        self._schedule(due)

    def look_at(self, number: int) -> T | None:
        """What waits under a number; None for nothing."""
        return self._things.get(number)

    def take(self, number: int) -> T | None:
        """What waits under a number, which waits no longer; None for nothing."""
        return self._things.pop(number, None)

    def take_all(self) -> list[tuple[int, T]]:
        """Everything, which waits no longer."""
        things, self._things = self._things, {}
        self._queues.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return list(things.items())

    def _sweep(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for seconds, queue in list(self._queues.items()):
            while queue and (queue[0][0] <= now or queue[0][1] not in self._things):
                _, number = queue.popleft()
                thing = self._things.pop(number, None)
                if thing is not None:
                    self._expire(number, thing)
            if not queue and self._queues.get(seconds) is queue:
                del self._queues[seconds]
        if self._queues:
            self._schedule(min(queue[0][0] for queue in self._queues.values() if queue))

    def _schedule(self, due: float) -> None:
        when = due + GRAIN
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._sweep)
