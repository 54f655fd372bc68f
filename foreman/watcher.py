"""The Foreman's own thread: it watches the nodes from outside, so it sees one that is stuck."""

from __future__ import annotations

import logging
import math
import sys
import threading
import traceback
from typing import TYPE_CHECKING

from attrs import define

from foreman.events import Missed, Stuck

if TYPE_CHECKING:
    from foreman.dispatcher import Dispatcher
    from foreman.node import Node

logger = logging.getLogger(__name__)

# Between looks, seconds: the strictest latency promised, within these. Each look takes the
# interpreter lock away from a node for a moment.
SHORTEST_LOOK = 0.005
LONGEST_LOOK = 0.1

# After so many looks at which nobody was kept waiting for more than this share of what was promised
# there, each look may wait for so many times as long: a hundred a second cost a busy node 3 % of
# its throughput.
CALM_LOOKS = 50
CALM_SHARE = 0.25
CALM_FACTOR = 4

# How often the policy is asked although no promise was broken, seconds.
REVIEW_PERIOD = 0.25

# A node that misses its promise again and again is reported this often, as is a review that fails,
# and the stack of what makes a node stuck is logged this often, seconds.
REPORT_PERIOD = 1.0
STACK_PERIOD = 10.0

# A node is stuck, and not just late, when it has not come round for this long, seconds: many times
# what the operating system or the garbage collector may take.
STUCK_AFTER = 0.05

# After this long without anything to do a node is at rest, seconds.
REST_AFTER = 5.0

# How many calls of the stack are logged, those nearest to what is running.
STACK_DEPTH = 12

# How long the end of the watch is waited for, seconds: a listener may be slow.
ENDING = 5.0


@define(eq=False)
class _Watched:
    """What the watcher remembers of a node."""

    calm: int = 0  # looks in a row at which nobody was kept waiting for long
    missed_reported: float = -math.inf
    stack_logged: float = -math.inf
    rests: float = 0.0  # when it is at rest, unless it does something until then


class Watcher:
    """Sends stamps to the nodes that are doing something and reads how long they take.

    A node that does nothing is sent nothing: on an idle server only this wakes, ten times a second.
    When a promise was broken, and
    every now and then, it has the policy review the nodes. Owned by its own thread, except `start`
    and `stop`.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._end = threading.Event()
        self._watched: dict[Node, _Watched] = {}
        self._failure_logged = -math.inf
        self._thread = threading.Thread(target=self._run, name="foreman-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = ENDING) -> None:
        self._end.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(min(timeout, ENDING))

    def _run(self) -> None:
        look = LONGEST_LOOK
        reviewed = self._dispatcher.clock()
        while not self._end.wait(look):
            look = LONGEST_LOOK
            nodes = self._dispatcher.nodes
            late = False
            for node in nodes:
                try:
                    soon, missed = self._watch(node)
                    look = min(look, soon)
                    late = late or missed
                except Exception:  # such as a worker's __repr__: the watch must go on
                    logger.exception("watching %s failed", node.name)
            littered = self._dispatcher.collect()
            if not littered and all(w.calm >= CALM_LOOKS for w in self._watched.values()):
                look = min(LONGEST_LOOK, CALM_FACTOR * look)
            self._dispatcher.go_on(look)
            now = self._dispatcher.clock()
            if late or now - reviewed >= REVIEW_PERIOD:
                reviewed = now
                try:
                    self._dispatcher.review()
                except Exception:  # such as a policy of the user's
                    if now - self._failure_logged >= REPORT_PERIOD:
                        self._failure_logged = now
                        logger.exception("the review failed")
            for node in self._watched.keys() - set(nodes):
                del self._watched[node]

    def _watch(self, node: Node) -> tuple[float, bool]:
        """Look at one node; returns when to look again, seconds, and whether it broke a promise."""
        declared = min(node.roster.latencies, default=math.inf)  # by nobody, perhaps
        promised = node.roster.promised
        now = node.clock()
        watched = self._watched.get(node)
        if watched is None:
            watched = self._watched[node] = _Watched(rests=now + REST_AFTER)
        waiting = node.waiting(now)
        close = max(node.last_wait, waiting) > CALM_SHARE * promised
        watched.calm = 0 if close else watched.calm + 1
        late, node.late = max(node.late, waiting), 0.0
        missed = late > promised
        if missed:
            self._dispatcher.was_late(node)
            if waiting > promised:
                node.suspect = node.holder
        if late > declared:
            self._report_missed(node, watched, late, declared, now)
        # Waiting alone may be a queue of many, each soon done; a node is stuck in one thing.
        held = now - node.hold_began
        if min(waiting, held) > max(promised, STUCK_AFTER):
            self._report_stuck(node, watched, waiting, promised, now)
        elif not waiting:
            self._dispatcher.mark_stuck(node, False)  # only now: it came round
            if not node.is_active():
                watched.calm = CALM_LOOKS  # whatever it did last
                if now > watched.rests:
                    watched.rests = self._dispatcher.rest(node)
                return LONGEST_LOOK, missed
            watched.rests = now + REST_AFTER
            node.stamp(now)
        return max(SHORTEST_LOOK, promised), missed

    def _report_stuck(
        self, node: Node, watched: _Watched, waiting: float, promised: float, now: float
    ) -> None:
        if node.stuck:
            return
        self._dispatcher.mark_stuck(node, True)
        holder = node.holder
        reason = (
            f"{node.name} has not come round for {waiting:.3g} s, {promised:g} s were promised"
            + (f"; it is in {holder!r}" if holder is not None else "")
        )
        stack = _stack_of(node.thread_id)
        if now - watched.stack_logged >= STACK_PERIOD:
            watched.stack_logged = now
            logger.warning("%s, at:\n%s", reason, stack)
        self._dispatcher.tell(Stuck(node, holder, waiting, reason, stack))

    def _report_missed(
        self, node: Node, watched: _Watched, wait: float, declared: float, now: float
    ) -> None:
        if now - watched.missed_reported < REPORT_PERIOD:
            return
        watched.missed_reported = now
        reason = f"{node.name} kept the ready waiting {wait:.3g} s, {declared:g} s declared"
        self._dispatcher.tell(Missed(node, wait, declared, reason))


def _stack_of(thread_id: int) -> str:
    """Where a thread is, innermost call last; empty when it runs no Python code."""
    frame = sys._current_frames().get(thread_id)
    return "" if frame is None else "".join(traceback.format_stack(frame, STACK_DEPTH))
