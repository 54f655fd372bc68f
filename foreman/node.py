"""A node: one thread running one event loop, and the clock that is held against it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from foreman.accounts import Accounts
from foreman.delivery import Delivery
from foreman.errors import NotRunning
from foreman.latency import round_down
from foreman.lost_time import ThreadTimes
from foreman.meters import (
    LONG_HOLD,
    ScanLatency,
    ScanMeter,
    WaitMeter,
    WaitStatistics,
)
from foreman.roster import Roster
from foreman.scan import ScanPass
from foreman.timer_slack import wake_on_time

if TYPE_CHECKING:
    from foreman.worker import Worker

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Node:
    """One thread, one event loop, and the workers it runs.

    Made and stopped by a `Foreman`. Each field says who may touch it: the node's own thread, or
    any thread under the named lock.
    """

    __slots__ = (
        "_accounts",
        "_classes",
        "_ended",
        "_ending",
        "_guard",
        "_scan_meter",
        "_scans",
        "_stamped",
        "_tasks",
        "_thread",
        "_times",
        "clock",
        "delivery",
        "hold_began",
        "holder",
        "late",
        "loop",
        "name",
        "roster",
        "seen_hold",
        "stuck",
        "suspect",
        "thread_id",
    )

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        guard: AbstractContextManager[bool],
        report: Callable[[Node, list[tuple[Worker, float]]], None],
        ended: Callable[[Node], None],
    ) -> None:
        self.name = name
        self.loop = loop
        self.clock = clock
        # Called on this thread when its loop has closed: nothing runs here any more.
        self._ended = ended
        # The Foreman's lock, and what it guards.
        self._guard = guard
        self.roster = Roster()
        self.delivery = Delivery(self)
        # Written by the watcher's thread, the first under the Foreman's lock; read without it.
        self.stuck = False
        self.seen_hold = 0.0
        # Whom the watcher saw running here while a promise was being broken; this thread takes it
        # away, and one that is written at the same moment may get lost.
        self.suspect: Worker | None = None
        # Owned by this node's thread; read by the watcher.
        self.holder: Worker | None = None
        self.hold_began = 0.0
        # None before the thread runs, and where time is made up: nothing is lost of that.
        self._times: ThreadTimes | None = None
        self._accounts = Accounts(self, report)
        self._scan_meter = ScanMeter()
        self._classes: dict[float, WaitMeter] = {}
        self._scans = ScanPass(self)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending = False
        # The longest wait that broke a promise, seconds. Written by this thread; the watcher takes
        # it away, and one that is written at the same moment may get lost.
        self.late = 0.0
        # Written by the watcher when it sends a stamp, cleared by this thread when it answers.
        self._stamped: float | None = None
        # Written once, when the thread begins.
        self.thread_id = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __repr__(self) -> str:
        return f"<Node {self.name}: {self.roster.count} workers>"

    # ---------------------------------------------------------------- any thread

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers counted on this node: there, or on their way to it."""
        with self._guard:
            return tuple(seat.worker for seat in self.roster.members())

    @property
    def scan_latency(self) -> ScanLatency:
        """How long this node keeps a ready worker waiting, recently; up to date while stuck."""
        return self._scan_meter.statistics(self.waiting(self.clock()))

    @property
    def last_wait(self) -> float:
        """The latest wait that was measured, seconds."""
        return self._scan_meter.last

    def waits_of(self, required_latency: float) -> WaitStatistics:
        """The waits of the workers here that declare this latency, seconds."""
        meter = self._classes.get(round_down(required_latency))
        return (meter or WaitMeter()).statistics()

    def call_soon(self, worker: Worker, function: Callable[..., object], *args: Any) -> None:
        """Run ``function(*args)`` as the worker's, metered as its hold, in order.

        May be called from any thread. Should the worker have moved, the call follows it.
        """
        worker.call_soon(function, *args)

    def post(self, function: Callable[..., object], *args: Any) -> bool:
        """Run ``function(*args)`` on this thread, unmetered; False when the node has stopped."""
        try:
            if self.here:  # nobody has to be woken
                self.loop.call_soon(function, *args)
            else:
                self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed; asking beforehand would be a race
            return False
        return True

    def run_coroutine(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine on this thread, unmetered.

        Raises:
            NotRunning: The node has stopped; the coroutine was closed.
        """
        if not self.post(self._start_task, coroutine):
            coroutine.close()
            raise NotRunning(f"{self.name} has stopped")

    @property
    def here(self) -> bool:
        """Whether the calling thread is this node's."""
        return threading.get_ident() == self.thread_id

    # ---------------------------------------------------------------- the Foreman's threads

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the thread; False when it has not ended within ``timeout`` seconds."""
        self.post(self._end)
        if self.here:
            return False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def is_active(self) -> bool:
        """Whether anything ran here since the watcher last asked."""
        seen, self.seen_hold = self.seen_hold, self.hold_began
        return seen != self.hold_began or self._accounts.is_open

    def stamp(self, now: float) -> None:
        """Send a stamp round; what it takes to come back is what a ready worker waits."""
        self._stamped = now
        if not self.post(self._answer):
            self._stamped = None

    def waiting(self, now: float) -> float:
        """How long the stamp under way has taken so far, seconds; 0 when none is."""
        stamped = self._stamped
        return 0.0 if stamped is None else now - stamped

    # ---------------------------------------------------------------- this node's thread

    def enter(self, worker: Worker) -> None:
        """The worker's code begins to run. Always followed by `leave`; never nested.

        Both are written out in `netserver.shell.Shell.data_received`.
        """
        self.holder = worker
        if worker.holds.sampled:
            self.take_reading()
        self.hold_began = self.clock()

    def leave(self, worker: Worker) -> None:
        """The worker's code has returned, or raised."""
        held = self.clock() - self.hold_began
        self.holder = None
        holds = worker.holds
        if held > holds.notable:
            held = self.note(worker, held)
        holds.runs += 1
        holds.held += held

    def take_reading(self) -> None:
        """Have what comes examined from here on."""
        if self._times is not None:
            self._times.read()

    def note(self, worker: Worker, held: float) -> float:
        """A hold is the first in its window, the longest, or a long one.

        Returns:
            How much of it is the worker's own doing, seconds.
        """
        holds = worker.holds
        if holds.aside:
            holds.aside = False
            if held <= LONG_HOLD:
                holds.runs = -1  # the caller counts it next: it has not run, then
                self.seen_hold = self.hold_began
                return 0.0
        if not holds.runs:
            self._accounts.ran(worker)
        if held > LONG_HOLD:
            holds.time_each()
            if self._times is not None:
                held, computed = self._times.examine(self.hold_began, held, holds.sampled)
                holds.examined(held, computed)
        holds.longest = max(holds.longest, held)
        holds.notable = min(holds.longest, LONG_HOLD)
        return held

    def run(self, worker: Worker, function: Callable[..., object], *args: Any) -> None:
        """Call a worker's hook: metered, and what it raises goes to the worker."""
        self.enter(worker)
        try:
            function(*args)
        except BaseException as error:
            # CancelledError and SystemExit too: no worker may end what it shares with others.
            worker._fail(error)
        finally:
            self.leave(worker)

    def adopt(self, worker: Worker) -> None:
        """The worker runs here from now on: what it costs is added up here."""
        self._accounts.ran(worker)

    def create_task(self, worker: Worker, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a worker's coroutine; each of its steps is metered as a hold of the worker."""
        return self._start_task(self.metered(worker, coroutine))

    def metered(self, worker: Worker, coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """The same coroutine, each step a hold of the worker; to be awaited by what is no hold."""
        return _Metered(self, worker, coroutine)

    @property
    def scans(self) -> ScanPass:
        """The pass over the scan workers of this node."""
        return self._scans

    def _start_task(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)  # the loop itself holds tasks weakly only
        task.add_done_callback(self._tasks.discard)
        return task

    def _answer(self) -> None:
        stamped = self._stamped
        if stamped is None:
            return
        now = self.clock()
        self._stamped = None
        self.take_reading()
        wait = now - stamped
        latencies = self.roster.latencies
        broken = bool(latencies) and wait > latencies[0]
        if broken:
            self._charge_suspect(wait)
            self._accounts.look_closely(now)
        # Before it is known that it was late, so that it is known who is to blame for it.
        if self._accounts.is_due(now, broken=broken):
            self._accounts.fold(now)
            # Latencies nobody here declares any more; were they kept, they would gather for ever.
            for latency in self._classes.keys() - set(latencies):
                del self._classes[latency]
        if broken:
            self.late = max(self.late, wait)
        self.waited(wait)

    def _charge_suspect(self, wait: float) -> None:
        """A hold that nobody timed has kept the ready waiting: it was as long as that, at least."""
        suspect, self.suspect = self.suspect, None
        if suspect is not None and suspect._home is self and suspect.holds.skips:
            suspect.holds.longest = max(suspect.holds.longest, wait)

    def waited(self, wait: float) -> None:
        """A ready worker was kept waiting here for this long, seconds."""
        self._scan_meter.add(wait)
        for required_latency in self.roster.latencies:
            meter = self._classes.get(required_latency)
            if meter is None:
                meter = self._classes[required_latency] = WaitMeter()
            meter.add(wait, required_latency)

    def _end(self) -> None:
        self._ending = True
        # After what is ready now: a coroutine cancelled before its first step would never run.
        self.loop.call_soon(self.loop.stop)

    def _run(self) -> None:
        self.thread_id = threading.get_ident()
        asyncio.set_event_loop(self.loop)
        wake_on_time()
        if self.clock is perf_counter:
            self._times = ThreadTimes()
        try:
            while not self._ending:
                try:
                    self.loop.run_forever()
                except (SystemExit, KeyboardInterrupt) as error:
                    # A loop lets these two through, wherever in it they were raised.
                    logger.error("%s goes on after what was to end it", self.name, exc_info=error)
        finally:
            try:
                for task in asyncio.all_tasks(self.loop):
                    task.cancel()
                if self._tasks:
                    self.loop.run_until_complete(asyncio.wait(tuple(self._tasks), timeout=1.0))
                self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            finally:
                if self._times is not None:
                    self._times.close()
                    self._times = None
                asyncio.set_event_loop(None)
                self.loop.close()
                self._ended(self)


class _Metered(Coroutine[Any, Any, T], Generator[Any, Any, T]):
    """A worker's coroutine: every step of it is a hold of that worker."""

    __slots__ = ("_coroutine", "_node", "_worker")

    def __init__(self, node: Node, worker: Worker, coroutine: Coroutine[Any, Any, T]) -> None:
        self._node = node
        self._worker = worker
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        self._node.enter(self._worker)
        try:
            return self._coroutine.send(value)
        finally:
            self._node.leave(self._worker)

    def throw(self, *exception: Any) -> Any:
        self._node.enter(self._worker)
        try:
            return self._coroutine.throw(*exception)
        finally:
            self._node.leave(self._worker)
            del exception  # it holds this call, which would hold it: a circle

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self
