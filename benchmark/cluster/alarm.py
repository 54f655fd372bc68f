"""Waking an event loop to the microsecond: its own timers count in milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import os
from time import CLOCK_MONOTONIC

from benchmark.load.client import LoadError

_ABSOLUTE = 1  # TFD_TIMER_ABSTIME


class _Times(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Alarm:
    """A timer of the kernel (timerfd_create(2)) on the running loop; one task waits for it.

    Raises:
        LoadError: The platform has none.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None)
        if not hasattr(self._libc, "timerfd_create"):
            raise LoadError("an exact timetable needs Linux")
        self._timer = self._libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer < 0:
            raise LoadError("the kernel has no timer for a timetable")
        self._waiting: asyncio.Future[None] | None = None
        self._loop.add_reader(self._timer, self._ring)

    async def until(self, due: int) -> None:
        """Wait until then, nanoseconds of `time.monotonic_ns`."""
        seconds, nanoseconds = divmod(due, 1_000_000_000)
        self._waiting = self._loop.create_future()
        times = _Times(0, 0, seconds, nanoseconds)
        self._libc.timerfd_settime(self._timer, _ABSOLUTE, ctypes.byref(times), None)
        await self._waiting

    def close(self) -> None:
        """Give it back."""
        self._loop.remove_reader(self._timer)
        os.close(self._timer)

    def _ring(self) -> None:
        os.read(self._timer, 8)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
