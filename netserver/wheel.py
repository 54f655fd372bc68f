"""A timing wheel: who is to be looked at when, for very many with few different periods."""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil
from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """Items by the time at which they are due, in slots. Pure: the time is an argument.

    An item costs its place in a set; adding and removing cost the same however many there are.
    The order within a slot is arbitrary.

    Args:
        tick: How long a slot is, seconds. An item is given out at its time or up to a slot later.
    """

    __slots__ = ("_order", "_slots", "tick")

    def __init__(self, tick: float) -> None:
        self.tick = tick
        self._slots: dict[int, set[T]] = {}
        self._order: list[int] = []  # a heap of the keys of `_slots`

    def __bool__(self) -> bool:
        return any(self._slots.values())

    def add(self, item: T, at: float) -> int:
        """Have an item given out at a time; returns its slot, for `remove`."""
        slot = ceil(at / self.tick)
        items = self._slots.get(slot)
        if items is None:
            items = self._slots[slot] = set()
            heappush(self._order, slot)
        items.add(item)
        return slot

    def remove(self, item: T, slot: int) -> None:
        """Forget an item that was not given out yet."""
        self._slots[slot].discard(item)

    def pop(self, now: float) -> T | None:
        """One that is due, the slots in their order; None when none is."""
        first = self._first()
        if first is None or first * self.tick > now:
            return None
        return self._slots[first].pop()

    @property
    def next_at(self) -> float | None:
        """When the next is due; None when it is empty."""
        first = self._first()
        return None if first is None else first * self.tick

    def _first(self) -> int | None:
        """The first slot that has items."""
        while self._order:
            first = self._order[0]
            if self._slots[first]:
                return first
            del self._slots[heappop(self._order)]
        return None
