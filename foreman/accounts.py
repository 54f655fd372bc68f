"""What the workers of one node cost, added up now and then."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foreman.node import Node
    from foreman.worker import Worker

# How often what the workers cost is added up, seconds. Long enough that a share of it is a load.
FOLD_PERIOD = 0.5

# After a broken promise it is done at once, but never takes more than this share of the time: with
# many workers it is work, and those who wait would wait for it too. Where thousands run all the
# time, it is done less often for that reason, but once in so many seconds at least.
PROMPT_FOLDS = 0.02
LONGEST_PERIOD = 2.0

# For how long every hold is timed after a broken promise, seconds.
CLOSELY_FOR = 30.0

# So many workers are added up in one turn of the loop, in about half a millisecond.
FOLDED_AT_ONCE = 50

# A worker using less of its node than this is at rest: it need not be looked at again and again.
AT_REST = 1e-4


class Accounts:
    """Who has run on a node, and what share of it each has used lately.

    Owned by the node's thread, except `is_open`, which any thread may read.

    Args:
        node: Whose.
        report: Called with the node, and with each worker and its load.
    """

    __slots__ = (
        "_began",
        "_closely_until",
        "_loads",
        "_node",
        "_ran",
        "_report",
        "_took",
        "_unfolded",
    )

    def __init__(
        self, node: Node, report: Callable[[Node, list[tuple[Worker, float]]], None]
    ) -> None:
        self._node = node
        self._report = report
        self._ran: list[Worker] = []
        self._loads: dict[Worker, float] = {}
        self._began = node.clock()
        self._took = 0.0  # by the last fold, so far
        self._closely_until = -inf
        self._unfolded: deque[Worker] = deque()

    @property
    def is_open(self) -> bool:
        """Whether anybody has run who was not added up, or is not at rest yet."""
        return bool(self._ran) or bool(self._loads)

    def ran(self, worker: Worker) -> None:
        """It has run for the first time since the last fold, here or before it came here."""
        self._ran.append(worker)

    def is_due(self, now: float, *, broken: bool) -> bool:
        """Whether it is time to add up again.

        Args:
            broken: Whether a promise was.
        """
        period = now - self._began
        cheap = period * PROMPT_FOLDS > self._took
        due = (broken and cheap) or period >= (FOLD_PERIOD if cheap else LONGEST_PERIOD)
        return due and not self._unfolded

    def look_closely(self, now: float) -> None:
        """A promise was broken: let no hold go untimed for a while."""
        self._closely_until = now + CLOSELY_FOR
        for worker in (*self._ran, *self._loads):
            if worker._home is self._node:  # its meter is written elsewhere otherwise
                worker.holds.time_each()

    def fold(self, now: float) -> None:
        """Add up what each worker cost since the last time, and report it: some of them at once."""
        period = now - self._began
        self._began = now
        ran, self._ran = self._ran, []
        before, self._loads = self._loads, {}
        # Those first who may be to blame for something.
        workers = sorted({*ran, *before}, key=lambda worker: worker.holds.longest, reverse=True)
        self._unfolded = deque(workers)
        self._took = 0.0
        self._fold_some(period, before)

    def _fold_some(self, period: float, before: dict[Worker, float]) -> None:
        """The next few of them, and the others in a later turn of the loop."""
        node = self._node
        began = node.clock()
        closely = began < self._closely_until
        weight = min(1.0, period / FOLD_PERIOD)
        report: list[tuple[Worker, float]] = []
        unfolded = self._unfolded
        for _ in range(min(FOLDED_AT_ONCE, len(unfolded))):
            worker = unfolded.popleft()
            if worker._home is not node:
                continue  # its meter is written elsewhere now
            load = min(1.0, worker.holds.fold(weight, closely=closely) / period)
            known = before.get(worker, 0.0)
            # Up at once, down slowly: a pause is no reason to give the room away. What happened in
            # a part of a period counts for a part of it.
            load = known + (load - known) * (weight if load > known else weight / 2)
            report.append((worker, load if load > AT_REST else 0.0))
            if load > AT_REST:
                self._loads[worker] = load
        try:
            self._report(node, report)
        finally:  # or none would ever be added up again
            self._took += node.clock() - began
            if unfolded:
                node.loop.call_soon(self._fold_some, period, before)
