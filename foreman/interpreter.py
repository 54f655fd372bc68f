"""The interpreter lock: how long a thread that computes keeps the others from running."""

from __future__ import annotations

import sys
from threading import Lock

# A strict worker should lose a small part of its latency to a thread that does not let go, and
# the switching itself should stay cheap. At 0.1 ms strict workers next to computing ones were
# measured at a p99 of 0.64 ms, at the interpreter's default of 5 ms at 41 ms. At 0.05 ms two
# threads that compute get a tenth less done in all, at 0.1 ms a twentieth.
SHARE_OF_LATENCY = 0.01
SHORTEST = 50e-6


def has_lock() -> bool:
    """Whether only one thread at a time runs Python code in this process."""
    enabled = getattr(sys, "_is_gil_enabled", None)
    return True if enabled is None else bool(enabled())


def interval_for(strictest: float) -> float:
    """The switch interval under which a latency of so many seconds can be kept, seconds."""
    return max(SHORTEST, strictest * SHARE_OF_LATENCY)


class SwitchInterval:
    """Lets the interpreter's switch interval follow the strictest latency declared anywhere.

    The interval belongs to the process, so all Foremen of a process share this object; its lock
    guards it. When the last one gives up its wish, the interval found at first is restored.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._wishes: dict[int, float] = {}
        self._found: float | None = None

    def wish(self, owner: object, strictest: float | None) -> None:
        """Follow ``strictest`` seconds on behalf of ``owner``; None to give the wish up."""
        with self._lock:
            if self._found is None:
                self._found = sys.getswitchinterval()
            if strictest is None:
                self._wishes.pop(id(owner), None)
            else:
                self._wishes[id(owner)] = interval_for(strictest)
            interval = min([self._found, *self._wishes.values()])
            if not self._wishes:
                self._found = None
            if abs(interval - sys.getswitchinterval()) > 1e-6:
                sys.setswitchinterval(interval)


switch_interval = SwitchInterval()
