"""A timing wheel: who is to be looked at when, for very many with few different periods."""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(set[T]):
    """Items that are due together.

    Attributes:
        at: When, seconds.
    """

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at


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
        self._slots: dict[int, Slot[T]] = {}
        self._order: list[int] = []  # a heap of the keys of `_slots`

    def __bool__(self) -> bool:
        return any(self._slots.values())

    def add(self, item: T, at: float) -> Slot[T]:
        """Have an item given out at a time; returns its slot, from which it may be taken."""
        number = ceil(at / self.tick)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = Slot(number * self.tick)
            heappush(self._order, number)
        slot.add(item)
        return slot

    def pop(self, now: float) -> T | None:
        """One that is due, the slots in their order; None when none is."""
        first = self._first()
        return None if first is None or first.at > now else first.pop()

    @property
    def next_at(self) -> float | None:
        """When the next is due; None when it is empty."""
        first = self._first()
        return None if first is None else first.at

    def _first(self) -> Slot[T] | None:
        """The first slot that has items."""
        while self._order:
            first = self._slots[self._order[0]]
            if first:
                return first
            del self._slots[heappop(self._order)]
        return None
