"""Workers that are to leave a node, a few at a time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foreman.node import Node
    from foreman.seat import Seat

# To let go of a node and to arrive on another takes about this long together under load, seconds,
# in which others wait; and this share of the time may go into moving those who need not hurry.
COST = 0.5e-3
SHARE_OF_TIME = 0.25

# How many of them are on their way at a time: not many at once, unless the node is breaking its
# promises anyway, and every turn of its loop takes long.
AT_ONCE = 4
AT_ONCE_IN_NEED = 64


class Evacuation:
    """Those who still have to leave a node. Guarded by the Foreman's lock.

    Args:
        node: What they are to leave.
        seats: Who.
        reason: Why.
        retires: Whether the node is to end when all have left; one that cannot leave then calls
            the whole off.

    Attributes:
        on_the_way: How many are being carried.
    """

    __slots__ = ("_allowed", "_at_once", "_waiting", "node", "on_the_way", "reason", "retires")

    def __init__(self, node: Node, seats: Iterable[Seat], reason: str, *, retires: bool) -> None:
        self._waiting = deque(seats)
        self.node = node
        self.reason = reason
        self.retires = retires
        self.on_the_way = 0
        self._at_once = AT_ONCE if retires else AT_ONCE_IN_NEED
        self._allowed = float(AT_ONCE) if retires else math.inf

    @property
    def is_over(self) -> bool:
        """Whether nobody waits and nobody is on the way."""
        return not self._waiting and not self.on_the_way

    def next(self) -> Seat | None:
        """Who is to go now, and still can; None when nobody waits or enough are on the way."""
        while self._waiting and self.on_the_way < self._at_once and self._allowed >= 1.0:
            seat = self._waiting.popleft()
            if seat.node is self.node and not seat.leaving and not seat.in_transit:
                self._allowed -= 1.0
                return seat
        return None

    def allow(self, seconds: float) -> None:
        """So much time has passed, and some more of those who need not hurry may go."""
        most = max(self._allowed, AT_ONCE_IN_NEED)
        self._allowed = min(most, self._allowed + seconds * SHARE_OF_TIME / COST)

    def extend(self, seats: Iterable[Seat]) -> None:
        """These have to leave as well."""
        self._waiting.extend(seats)

    def call_off(self) -> None:
        """Nobody else needs to leave."""
        self._waiting.clear()
        self.retires = False
