"""The garbage collector: how long it stops every thread at a time."""

from __future__ import annotations

import gc
import logging
import math
import sys
from threading import RLock
from time import perf_counter, thread_time

from foreman.interpreter import has_lock

logger = logging.getLogger(__name__)

# The part of the strictest latency that a collection may take.
SHARE_OF_LATENCY = 0.1

# The part of the time that examining what has survived may take, at most, where it is not about to
# take too long; and how long it waits for that, seconds.
SHARE_OF_TIME = 0.02
PERIOD = 1.0

# By what part of them the blocks of memory that are allocated must have become more, or fewer, for
# that.
CHANGE = 0.01

# What a collection takes, seconds per object it looks at and per allocated block, until it has been
# measured. 0.05 to 0.2 µs were, on CPython 3.11 to 3.13; a tracked object is nearly two blocks.
PER_OBJECT = 0.1e-6
PER_BLOCK = 0.1e-6

# So many blocks more than twice as many as there were, and everything is examined, whatever it
# takes. They come to 100 to 200 MB.
ALLOWANCE = 2_000_000

# More young collections than there will ever be: no full one begins by itself.
NEVER = 1_000_000_000


class Collector:
    """Keeps the garbage collector's pauses below a tenth of the strictest latency declared.

    CPython collects young objects often and briefly, and everything that is alive when that has
    grown by a quarter. Such a full collection stops all threads for about 0.15 s per million
    objects, so 15,000 idle connections are enough to break a promise of 10 ms. While anybody wishes
    for a latency, full collections do not begin by themselves. Instead what has survived the young
    ones is examined now and then by whoever calls `look`, and as soon as examining all of it would
    take too long, it is frozen: not examined again (`gc.freeze`).

    Young collections begin when more objects were made than freed, by some hundreds; where a server
    is about to greet thousands, tens of thousands are made while as many older ones are freed. So
    each `look` examines the young ones, and what that takes tells what examining all will.

    What that costs is memory. Garbage that refers to itself, and that was alive when it was frozen,
    stays. It is freed when everything is examined again:

    - when that fits in the tenth, because a looser latency is the strictest now, or less is alive;
    - when the process has twice as many blocks of memory as after the last time, and `ALLOWANCE`
      more; this breaks promises once, by a pause as long as without all this;
    - as CPython does it, when the last wish is given up.

    Garbage without cycles is freed at once, as ever. Finalizers of what `look` finds run on the
    thread that calls it.

    Collector and memory belong to the process, so all Foremen of a process share this object; any
    thread may call it. It does nothing where there is nothing for it to do: where the collector was
    turned off, on interpreters other than CPython, on CPython without an interpreter lock, from
    3.14 on, whose collector works in increments of its own, and where ``PYTHONMALLOC=malloc``
    leaves no blocks to count. Objects that the program itself has frozen are thawed with the rest.
    """

    def __init__(self) -> None:
        # Finalizers run wherever something is allocated, so one may call in while the same thread
        # is here already.
        self._lock = RLock()
        self._wishes: dict[int, float] = {}
        self._found: tuple[int, int, int] | None = None  # thresholds; None while left alone
        self._budget = math.inf  # longest pause, seconds
        self._frozen = False
        self._examined = perf_counter()  # when, and
        self._took = 0.0  # how long it took, seconds; 0 when there is less to be examined now
        self._survived = 0.0  # how long the young took that came since, seconds
        self._begun = 0  # how many collections of the young are counted in that
        self._young = 0  # how many objects may survive one of those that begin by themselves
        self._last_blocks = 0  # how many there were when it was decided to examine everything, and
        self._blocks = 0  # when everything had been, with nothing frozen
        self._pace = PER_BLOCK

    def wish(self, owner: object, strictest: float | None) -> None:
        """Keep a latency of ``strictest`` seconds for ``owner``; None to give the wish up."""
        with self._lock:
            if self._wishes.get(id(owner)) == strictest:
                return  # the usual case, and it must be cheap
            if strictest is None:
                del self._wishes[id(owner)]
            else:
                self._wishes[id(owner)] = strictest
            if not self._wishes:
                self._give_back()
                return
            self._budget = SHARE_OF_LATENCY * min(self._wishes.values())
            if self._found is None:
                found = gc.get_threshold()
                if not (gc.isenabled() and found[0] and _is_tunable()):
                    return
                self._found = found
                self._blocks = sys.getallocatedblocks()
            self._tune(self._found)

    def look(self) -> bool:
        """Examine what is young, and what has survived if it is time to.

        To be called at least once in every strictest latency while anything is going on, and a
        quarter as often when it returned False.

        Returns:
            Whether so much survives that this must not be called less often now.
        """
        if self._found is None or not gc.isenabled():
            return False
        # Without the lock: finalizers run, and they may wait for others that want to come in.
        began_by_itself = gc.get_count()[2] - self._begun
        young = _collect(1)
        with self._lock:
            self._begun = gc.get_count()[2]
            self._survived += young + max(0, began_by_itself) * self._young * PER_OBJECT
            elapsed = perf_counter() - self._examined
            # Not for next to nothing: what takes nearly so long would be examined again and again.
            pressing = self._survived >= max(self._budget / 2 - self._took, self._took / 2)
            if not pressing and elapsed < max(PERIOD, self._took / SHARE_OF_TIME):
                return young > self._budget / 8
            blocks = sys.getallocatedblocks()
            if not pressing and abs(blocks - self._last_blocks) < CHANGE * blocks:
                self._examined = perf_counter()  # there is nothing new, nor less
                return False
            self._last_blocks = blocks
            self._survived, self._begun = 0.0, 0
            if self._frozen and self._may_thaw():
                gc.unfreeze()
                self._frozen = False
        took = _collect(2)
        with self._lock:
            self._examined = perf_counter()
            self._took = took
            if not self._frozen:
                self._blocks = sys.getallocatedblocks()
                self._pace = took / self._blocks
            if took > self._budget / 2:
                self._freeze()
        return True

    def _may_thaw(self) -> bool:
        """Whether everything is to be examined."""
        blocks = sys.getallocatedblocks()
        takes = blocks * self._pace
        # Half of what would have it frozen again, so that it does not swing.
        if takes < self._budget / 4:
            return True
        if blocks <= 2 * self._blocks + ALLOWANCE:
            return False
        logger.info("%d blocks are to be examined, in about %.3g s", blocks, takes)
        return True

    def _tune(self, found: tuple[int, int, int]) -> None:
        """Have the collector's thresholds, and what is alive already, fit the budget."""
        often = max(1, min(found[1], int(self._budget / 2 / PER_OBJECT / found[0]) - 1))
        self._young = found[0] * (often + 1)
        self._last_blocks = 0
        gc.set_threshold(found[0], often, NEVER)
        if not self._frozen and sys.getallocatedblocks() * self._pace > self._budget / 2:
            self._freeze()

    def _freeze(self) -> None:
        gc.freeze()
        self._frozen = True
        self._took = 0.0

    def _give_back(self) -> None:
        found, self._found = self._found, None
        self._budget = math.inf
        # Should somebody have set thresholds of their own meanwhile, they shall keep them.
        if found is not None and gc.get_threshold()[2] == NEVER:
            gc.set_threshold(*found)
        if self._frozen:
            gc.unfreeze()
            self._frozen = False


def _collect(generation: int) -> float:
    """Examine this generation and younger ones; what that took, seconds of computing."""
    began = thread_time()
    gc.collect(generation)
    return thread_time() - began


def _is_tunable() -> bool:
    """Whether this interpreter's collector stops the process for as long as there is much alive."""
    return (
        sys.implementation.name == "cpython"
        and sys.version_info < (3, 14)
        and has_lock()
        and sys.getallocatedblocks() > 0
    )


collector = Collector()
