"""What the process is tuned to while latencies are to be kept: its lock and its collector."""

from __future__ import annotations

import sys

from foreman.collector import collector
from foreman.interpreter import has_lock, interval_for, switch_interval


class Tuning:
    """One Foreman's wishes. The caller guards `follow`; the rest may be called from any thread.

    Args:
        interpreter: Whether the interpreter's switch interval is tuned.
        garbage: Whether the garbage collector is.
    """

    def __init__(self, *, interpreter: bool, garbage: bool) -> None:
        self._has_lock = has_lock()
        self._interpreter = interpreter and self._has_lock
        self._garbage = garbage

    def follow(self, strictest: float | None) -> None:
        """Tune to the strictest latency that is declared, seconds; None when there is none."""
        if self._interpreter:
            switch_interval.wish(self, strictest)
        if self._garbage:
            collector.wish(self, strictest)

    def collect(self) -> bool:
        """Have what has outlived the young collections examined, if it is time to.

        Returns:
            Whether it may be so again soon.
        """
        return self._garbage and collector.look()

    def lock_delay(self, newcomer: float | None = None) -> float:
        """What one other node that computes costs a ready worker, seconds.

        Args:
            newcomer: The latency that one more is going to declare, which may be stricter than all
                so far; None for nobody.
        """
        if not self._has_lock:
            return 0.0
        interval = sys.getswitchinterval()
        if self._interpreter and newcomer is not None:
            interval = min(interval, interval_for(newcomer))
        return interval
