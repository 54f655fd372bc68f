"""A queue between one event loop's protocol and its tasks, bounded in bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Roughly what the object around a short message costs; without it, empty messages would be free
# and their number unbounded.
_OVERHEAD = 64


class ByteQueue(Generic[T]):
    """First in, first out. `put` never waits: its caller stops reading while the queue is `full`.

    Used on one event loop only. Cancelling `get` loses nothing.

    Args:
        limit: Bytes from which the queue is full.

    Attributes:
        on_room: Called when a full queue is down to half its limit.
        on_idle: Called when somebody asks for an item and there is none left.
    """

    __slots__ = (
        "_closed",
        "_items",
        "_limit",
        "_overflowed",
        "_size",
        "_waiters",
        "on_idle",
        "on_room",
    )

    def __init__(self, limit: int) -> None:
        self.on_room: Callable[[], None] | None = None
        self.on_idle: Callable[[], None] | None = None
        self._items: deque[tuple[T, int]] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._limit = limit
        self._size = 0
        self._overflowed = False
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether to stop until `on_room` is called."""
        return self._overflowed

    def put(self, item: T, size: int) -> None:
        """Append ``item``, which counts as ``size`` bytes and a little; ignored once closed."""
        if self._closed:
            return
        self._items.append((item, size))
        self._size += size + _OVERHEAD
        if self._size >= self._limit:
            self._overflowed = True
        self._wake_one()

    async def get(self) -> T:
        """The oldest item.

        Raises:
            EOFError: The queue is closed and empty.
        """
        while not self._items:
            if self._closed:
                raise EOFError
            if self.on_idle is not None:
                self.on_idle()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                elif not waiter.cancelled() and self._items:
                    # Woken and cancelled at once: the item is another's.
                    self._wake_one()
                raise
        item, size = self._items.popleft()
        self._size -= size + _OVERHEAD
        if self._overflowed and self._size <= self._limit // 2:
            self._overflowed = False
            if self.on_room is not None:
                self.on_room()
        return item

    def close(self) -> None:
        """Take no more; what is inside can still be got."""
        self._closed = True
        while self._waiters:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
