"""What waits for an answer from elsewhere, and what becomes of it when there is none."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")

# How exactly deadlines are kept, seconds.
GRAIN = 0.02

MOST = 1 << 32


class _Span:
    """Numbers in a row whose deadlines are within `GRAIN` of each other.

    Attributes:
        due: The first deadline.
        first: The first number that may still wait.
        last: The last number.
    """

    __slots__ = ("due", "first", "last")

    def __init__(self, due: float, first: int, last: int) -> None:
        self.due = due
        self.first = first
        self.last = last


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
        self._queues: dict[float, deque[_Span]] = {}  # by how long they wait, seconds
        self._next = 1
        self._timer: asyncio.TimerHandle | None = None
        self._sweeps = math.inf  # when it does

    def __len__(self) -> int:
        return len(self._things)

    def add(self, thing: T, seconds: float) -> int:
        """One more that waits; its number, which is not 0."""
        return self.add_all((thing,), seconds)[0]

    def add_all(self, things: Sequence[T], seconds: float) -> range:
        """Some more that wait equally long, at least one; their numbers, of which none is 0."""
        numbers = self._free(len(things))
        self._next = numbers.stop
        self._things.update(zip(numbers, things, strict=True))
        queue = self._queues.get(seconds)
        if queue:
            span = queue[-1]
            if span.last == numbers.start - 1 and monotonic() + seconds < span.due + GRAIN:
                span.last = numbers[-1]
                return numbers
        self._wait(numbers, seconds)
        return numbers

    def hurry(self, number: int, seconds: float) -> None:
        """It waits at most so much longer."""
        self._wait(range(number, number + 1), seconds)

    def look_at(self, number: int) -> T | None:
        """What waits under a number; None for nothing."""
        return self._things.get(number)

    def take(self, number: int) -> T | None:
        """What waits under a number, which waits no longer; None for nothing."""
        return self._things.pop(number, None)

    def take_each(self, numbers: Iterable[int]) -> list[T]:
        """What waits under any of these numbers, which waits no longer."""
        found = [self._things.pop(number, None) for number in numbers]
        return [thing for thing in found if thing is not None]

    def take_all(self) -> list[tuple[int, T]]:
        """Everything, which waits no longer."""
        things, self._things = self._things, {}
        self._queues.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._sweeps = math.inf
        return list(things.items())

    def _free(self, count: int) -> range:
        """So many numbers in a row that are not in use; after the last ones come the first."""
        things = self._things
        first = self._next
        while True:
            if first + count > MOST:
                first = 1
            numbers = range(first, first + count)
            if things.keys().isdisjoint(numbers):
                return numbers
            first = 1 + max(number for number in numbers if number in things)

    def _wait(self, numbers: range, seconds: float) -> None:
        due = monotonic() + seconds
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = deque()
        self._drop_answered(queue)
        queue.append(_Span(due, numbers[0], numbers[-1]))
        self._schedule(due)

    def _drop_answered(self, queue: deque[_Span]) -> None:
        """Forget those at the front of a queue that wait no longer."""
        things = self._things
        while queue:
            span = queue[0]
            while span.first not in things:
                if span.first == span.last:
                    queue.popleft()
                    break
                span.first += 1
            else:
                return

    def _sweep(self) -> None:
        self._timer = None
        self._sweeps = math.inf
        over = monotonic() - GRAIN  # then the deadlines of all of a span have passed
        for seconds, queue in list(self._queues.items()):
            while queue and queue[0].due <= over:
                span = queue.popleft()
                for number in range(span.first, span.last + 1):
                    thing = self._things.pop(number, None)
                    if thing is not None:
                        self._expire(number, thing)
            self._drop_answered(queue)
            if not queue and self._queues.get(seconds) is queue:
                del self._queues[seconds]
        if self._queues:
            self._schedule(min(queue[0].due for queue in self._queues.values() if queue))

    def _schedule(self, due: float) -> None:
        """Sweep when a span that begins with this deadline is over."""
        at = due + GRAIN
        if at >= self._sweeps:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._sweeps = at
        delay = max(0.0, at - monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._sweep)
