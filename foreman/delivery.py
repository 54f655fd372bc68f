"""Serving those on a node who were woken to look into their mailboxes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING

from foreman.turns import OVERDUE, turns

if TYPE_CHECKING:
    from foreman.node import Node
    from foreman.worker import Worker

# How long calls that were handed over may be run before whatever else is ready on the node is due,
# seconds. A turn of the loop costs about 30 microseconds.
MAIL_TURN = 1e-3

# With more than so many workers to serve, a node does so in its turn among the nodes.
FEW = 64


class Delivery:
    """Who was woken on one node, served in turns of its loop.

    Any thread wakes; the node's own thread serves.
    """

    __slots__ = ("_again", "_due", "_lock", "_node", "_waiting", "_woken")

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = Lock()
        # Guarded by the lock.
        self._woken: list[Worker] = []
        self._due = False  # whether `_serve` will be called
        # Owned by the node's thread: those whose turn has not come yet, and when it comes.
        self._waiting: deque[Worker] = deque()
        self._again: asyncio.Handle | None = None

    # ---------------------------------------------------------------- any thread

    def wake(self, worker: Worker) -> None:
        """Have the worker look into its mailbox. One wake-up of the loop serves many workers."""
        self.wake_all((worker,))

    def wake_all(self, workers: Iterable[Worker]) -> None:
        """Have many look into their mailboxes, some in each turn of the loop."""
        with self._lock:
            self._woken += workers
            due, self._due = self._due, True
        if not due:
            self.go_on()

    def go_on(self) -> None:
        """Serve those that wait, if any do, as soon as the node comes to it."""
        self._node.post(self._serve)

    # ---------------------------------------------------------------- the node's thread

    def _serve(self) -> None:
        """Serve those that were woken, for `MAIL_TURN`; the others in a later turn of the loop."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        waiting = self._waiting
        with self._lock:
            waiting += self._woken
            self._woken.clear()
        node = self._node
        now = node.clock()
        many = len(waiting) > FEW
        if many and not turns.take(self, now):
            self._again = node.loop.call_later(OVERDUE, self._serve)
            return
        self._pass_over(now)
        with self._lock:
            due = self._due = bool(waiting or self._woken)
        if due:
            self._again = node.loop.call_soon(self._serve)
        if following := turns.give(self, node.clock(), due):
            following.go_on()

    def _pass_over(self, now: float) -> None:
        """Serve them one by one until their time is up."""
        node = self._node
        clock = node.clock
        waiting = self._waiting
        ends = now + MAIL_TURN
        while waiting and now < ends:
            worker = waiting.popleft()
            if worker._home is not node:
                continue  # it has left, and looks into its mailbox where it arrives
            # `Node.enter` and `Node.leave`, written out: a broadcast passes this for each that it
            # goes to.
            holds = worker.holds
            node.holder = worker
            if holds.sampled:
                node.take_reading()
            node.hold_began = began = now
            try:
                worker._deliver()
            except BaseException as error:  # as in `Node.run`
                worker._fail(error)
            now = clock()
            node.holder = None
            held = now - began
            if held > holds.notable:
                held = node.note(worker, held)
            holds.runs += 1
            holds.held += held
