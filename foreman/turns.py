"""Who may serve many workers now: under an interpreter lock, one node after the other."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

from foreman.interpreter import has_lock

if TYPE_CHECKING:
    from foreman.delivery import Delivery

# Whoever has not given its turn back after so long, seconds, is kept by something that nobody need
# wait for: a turn takes a millisecond (`foreman.delivery.MAIL_TURN`).
OVERDUE = 5e-3


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
        self._since = 0.0

    def take(self, delivery: Delivery, now: float) -> bool:
        """Have the turn; False when another node has it: the caller is called when it is free.

        Args:
            now: On the node's clock.
        """
        with self._lock:
            holder = self._holder
            if self._needed and holder not in (None, delivery) and now - self._since < OVERDUE:
                if delivery not in self._waiting:
                    self._waiting.append(delivery)
                return False
            self._holder = delivery
            self._since = now
            return True

    def give(self, delivery: Delivery) -> Delivery | None:
        """Give it back; returns the node that has waited longest, which is to be called."""
        with self._lock:
            if self._holder is delivery:
                self._holder = None
            return self._waiting.popleft() if self._waiting else None


turns = Turns()
