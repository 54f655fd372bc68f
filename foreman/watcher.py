"""The Foreman's own thread: it watches the nodes from outside, so it sees one that is stuck."""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING

from foreman.events import Missed, Stuck

if TYPE_CHECKING:
    from foreman.foreman import Foreman
    from foreman.node import Node

logger = logging.getLogger(__name__)

# Between looks, seconds: half the strictest latency, within these.
SHORTEST_LOOK = 0.005
LONGEST_LOOK = 0.1

# A node that misses its promise again and again is reported this often, seconds.
REPORT_PERIOD = 1.0

# How long the end of the watch is waited for, seconds: a listener may be slow.
ENDING = 5.0


class Watcher:
    """Sends stamps to the nodes that are doing something and reads how long they take.

    A node that does nothing is sent nothing: an idle server sleeps. Owned by its own thread,
    except `start` and `stop`.
    """

    def __init__(self, foreman: Foreman) -> None:
        self._foreman = foreman
        self._end = threading.Event()
        self._reported: dict[Node, float] = {}
        self._thread = threading.Thread(target=self._run, name="foreman-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(ENDING)

    def _run(self) -> None:
        look = LONGEST_LOOK
        while not self._end.wait(look):
            look = LONGEST_LOOK
            for node in self._foreman.nodes:
                try:
                    look = min(look, self._watch(node))
                except Exception:  # such as a worker's __repr__: the watch must go on
                    logger.exception("watching %s failed", node.name)

    def _watch(self, node: Node) -> float:
        """Look at one node; returns when to look again, in seconds."""
        promised = min(node.roster.latencies, default=math.inf)  # to nobody, nothing is promised
        now = node.clock()
        waiting = node.waiting(now)
        late, node.late = max(node.late, waiting), 0.0
        if late > promised:
            self._report_missed(node, late, promised, now)
        if waiting > promised:
            self._report_stuck(node, waiting, promised)
        elif not waiting:
            node.stuck = False  # only now: it came round
            if not node.is_active():
                return LONGEST_LOOK
            node.stamp(now)
        return max(SHORTEST_LOOK, promised / 2)

    def _report_stuck(self, node: Node, waiting: float, promised: float) -> None:
        if node.stuck:
            return
        node.stuck = True
        holder = node.holder
        reason = (
            f"{node.name} has not come round for {waiting:.3g} s, {promised:g} s were promised"
            + (f"; it is in {holder!r}" if holder is not None else "")
        )
        self._foreman.tell(Stuck(node, holder, waiting, reason))

    def _report_missed(self, node: Node, wait: float, promised: float, now: float) -> None:
        if now - self._reported.get(node, -REPORT_PERIOD) < REPORT_PERIOD:
            return
        self._reported[node] = now
        reason = f"{node.name} kept the ready waiting {wait:.3g} s, {promised:g} s declared"
        self._foreman.tell(Missed(node, wait, promised, reason))
