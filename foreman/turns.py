"""Who may serve many workers now: under an interpreter lock, one node after the other."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

from foreman.interpreter import has_lock

if TYPE_CHECKING:
    from foreman.delivery import Delivery

# How long a node that has more to serve keeps its turn, seconds. Each change of nodes wakes another
# thread, for which whoever is ready anywhere has to wait: beside broadcasts to 5,000 on 8 nodes a
# strict worker was served after 1.6 ms (p50) and 12 ms (p99) with 1 ms, after 0.4 and 10 with this.
LENGTH = 10e-3

# Whoever has not come round for so long, seconds, is kept by something that nobody need wait for:
# it does so every millisecond (`foreman.delivery.MAIL_TURN`). Those that wait look as often.
OVERDUE = 20e-3


class Turns:
    """One turn for all nodes of a process. Thread-safe: its lock guards everything.

    Nodes that have thousands of workers to serve at the same time, because of a broadcast, would
    only take the interpreter lock away from each other, and keep those waiting for it who need it
    for a moment.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._needed = has_lock()
        self._waiting: deque[Delivery] = deque()
        self._holder: Delivery | None = None
        self._began = 0.0
        self._seen = 0.0

    def take(self, delivery: Delivery, now: float) -> bool:
        """Have the turn, or keep it; False when another has it: it is called when that is free.

        Args:
            now: On the node's clock.
        """
        with self._lock:
            holder = self._holder
            if holder is not delivery:
                if self._needed and holder is not None and now - self._seen < OVERDUE:
                    if delivery not in self._waiting:
                        self._waiting.append(delivery)
                    return False
                self._holder = delivery
                self._began = now
            self._seen = now
            return True

    def give(self, delivery: Delivery, now: float, more: bool) -> Delivery | None:
        """Give it back, where it is had, unless there is more to serve and its time is not up.

        Returns:
            Who has waited longest, which is to be called; None where nobody has, or has to go on
            waiting.
        """
        with self._lock:
            if self._holder is delivery:
                if more and now - self._began < LENGTH:
                    return None
                self._holder = None
            return self._waiting.popleft() if self._waiting and self._holder is None else None


turns = Turns()
