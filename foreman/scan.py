"""Workers that are looked at again and again: the pattern without any network."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from foreman.meters import WaitMeter, WaitStatistics
from foreman.worker import Worker

if TYPE_CHECKING:
    from foreman.node import Node


# A scan that raises is logged this often, seconds: it will raise again on the next pass.
LOG_PERIOD = 1.0


class ScanWorker(Worker, ABC):
    """A worker whose `scan` is called on every pass of its node.

    A pass comes at least once per `required_latency`: a sensor, a poller, a game tick. Stricter
    neighbours make passes more frequent. A wait of a scan worker is the time from the beginning
    of one scan to the beginning of the next.
    """

    __slots__ = ("_logged", "_scan_began", "_scan_waits")

    required_latency = 1.0

    def __init__(self) -> None:
        super().__init__()
        self._scan_began: float | None = None
        self._scan_waits = WaitMeter()
        self._logged = -math.inf

    @abstractmethod
    def scan(self) -> None:
        """Look whether there is anything to do, and do it. On the node's thread."""

    def _arrived(self, node: Node) -> None:
        node.scans.add(self)

    def _declare(self, seconds: float) -> None:
        super()._declare(seconds)
        home = self._home
        if home is not None:
            home.post(home.scans.rearm)

    def _log(self, error: BaseException) -> None:
        began = self._scan_began
        if began is None or began - self._logged >= LOG_PERIOD:
            super()._log(error)
            if began is not None:
                self._logged = began

    def _waits(self) -> WaitStatistics:
        return self._scan_waits.statistics()


class ScanPass:
    """The passes of one node over its scan workers. Owned by the node's thread.

    Passes begin twice as often as the strictest scan worker asks, so that a pass may be late by
    as much as it is apart from the last one. Without scan workers there is no timer: an idle node
    sleeps.
    """

    EVERY: ClassVar[float] = 0.5  # of the strictest declared latency

    def __init__(self, node: Node) -> None:
        self._node = node
        self._workers: dict[ScanWorker, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0

    def add(self, worker: ScanWorker) -> None:
        self._workers[worker] = None
        worker._scan_began = None
        self._arm(0.0)

    def rearm(self) -> None:
        """Time the next pass by what is declared now."""
        if self._workers:
            every = self.EVERY * min(worker.required_latency for worker in self._workers)
            self._arm(max(0.0, self._began + every - self._node.clock()))

    def _arm(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._node.loop.call_later(delay, self._pass)

    def _pass(self) -> None:
        self._timer = None
        node = self._node
        self._began = node.clock()
        for worker in tuple(self._workers):
            if worker._home is not node:
                del self._workers[worker]
                continue
            now = node.clock()
            if worker._scan_began is not None:
                worker._scan_waits.add(now - worker._scan_began, worker.required_latency)
            worker._scan_began = now
            node.run(worker, worker.scan)
        self.rearm()
