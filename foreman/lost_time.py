"""Time that passes while a worker holds its node, and that is not the worker's doing.

The garbage collector stops every thread for what one of them allocated, and the operating system
runs other programs on the processor that a thread is ready to use. Both are taken off a hold before
it is charged to a worker, or the Foreman would move workers about for what they have not done.

What is not taken off is waiting for the interpreter lock, which is somebody's doing: it counts as
computing, because it is cured by whatever cures that, and not by another thread. Nor is what a
hypervisor takes away, which a guest cannot tell from computing.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import deque
from functools import partial
from threading import Lock, get_ident
from time import perf_counter, thread_time

from foreman.interpreter import has_lock

# Shorter collections are part of what it costs to allocate, seconds.
SHORTEST_PAUSE = 100e-6

# Enough pauses for the longest hold that is worth being just about: the last of them are the ones
# that are asked for.
PAUSES_KEPT = 64

# Who waits for the interpreter lock is woken once in each switch interval, so the times a thread
# has waited tell how long it was for the lock. But it may have waited for something else each time;
# so more than this is not believed of any, seconds.
LONGEST_TURN = 200e-6


class Pauses:
    """When the garbage collector ran, lately, and on which threads.

    The collector belongs to the process, so all nodes of a process share this object, and it
    listens while there is at least one of them. Any thread may ask; what is noted is noted by the
    thread that collects, and only one does at a time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._listeners = 0
        self._began = self._computed = 0.0
        # Begin and end, seconds of `perf_counter`; on which thread; CPU seconds of that.
        self._recent: deque[tuple[float, float, int, float]] = deque(maxlen=PAUSES_KEPT)

    def listen(self) -> None:
        """Take note from now on. Each call is undone by one of `ignore`."""
        with self._lock:
            self._listeners += 1
            if self._listeners == 1:
                gc.callbacks.append(self._note)

    def ignore(self) -> None:
        """One node less wants to know."""
        with self._lock:
            self._listeners -= 1
            if not self._listeners:
                gc.callbacks.remove(self._note)
                self._recent.clear()

    def within(self, began: float, ended: float) -> tuple[float, float]:
        """What the collector took from this thread between two times of `perf_counter`.

        Returns:
            Seconds it computed on this thread, and seconds it ran on others.
        """
        here = there = 0.0
        for start, stop, thread, computed in reversed(self._recent.copy()):
            if stop <= began:
                break
            overlap = max(0.0, min(stop, ended) - max(start, began))
            if thread == get_ident():
                here += computed * overlap / (stop - start)
            else:
                there += overlap
        return here, there

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if not info["generation"]:
            return  # soon done, and so frequent that even looking at the clock would cost something
        now, computed = perf_counter(), thread_time()
        if phase == "start":
            self._began, self._computed = now, computed
        elif now - self._began >= SHORTEST_PAUSE:
            self._recent.append((self._began, now, get_ident(), computed - self._computed))


pauses = Pauses()


class ThreadTimes:
    """What a thread has computed, and what it has been kept from running. Owned by that thread.

    The operating system counts from the thread's beginning; so each examination is about the
    difference to the last reading. Whoever takes a reading just before a hold learns exactly what
    happened in it; otherwise it is an upper bound, because something may have run in between.
    """

    __slots__ = ("_computed", "_delayed", "_file", "_takes_turns", "_usage", "_waits")

    def __init__(self) -> None:
        pauses.listen()
        self._takes_turns = has_lock()
        self._computed = self._delayed = 0.0
        self._waits = 0
        self._file: int | None = None
        try:
            # Linux: nanoseconds run, nanoseconds ready but not running, times run. The name leads
            # to the thread that opens it, and the descriptor stays with that thread's numbers.
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass  # another system, or out of descriptors: nothing is known, nothing is taken off
        else:
            from resource import RUSAGE_THREAD, getrusage  # not there on other systems

            self._usage = partial(getrusage, RUSAGE_THREAD)
        self.read()

    def close(self) -> None:
        """The thread ends."""
        pauses.ignore()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def read(self) -> None:
        """What comes is examined from here on."""
        self._computed = thread_time()
        if self._file is not None:
            self._delayed = int(os.pread(self._file, 96, 0).split()[1]) * 1e-9
            self._waits = self._usage().ru_nvcsw

    def examine(self, began: float, held: float, exact: bool) -> tuple[float, float]:
        """What to charge for a hold that has just ended; takes a reading.

        Args:
            began: When it began, as of `perf_counter`, seconds.
            held: How long it lasted, seconds.
            exact: Whether the last reading was taken when it began.

        Returns:
            How long it held the node by its own doing, and how much of that it was computing or
            waiting for its turn to, seconds.
        """
        computed, delayed, waits = self._computed, self._delayed, self._waits
        self.read()
        collected, stopped = pauses.within(began, began + held)
        own = max(0.0, held - collected - (self._delayed - delayed))
        computed = max(0.0, self._computed - computed - collected)
        if exact and self._takes_turns:
            computed += (self._waits - waits) * min(LONGEST_TURN, sys.getswitchinterval())
        computed = min(own, computed)
        # A collection on another thread costs one that computes all of its time, and one that
        # sleeps nothing. When in the hold it was computing is not known: reckon with the share.
        rest = own - stopped
        charged = own - stopped * computed / rest if rest > computed else max(0.0, rest)
        return charged, min(computed, charged)
