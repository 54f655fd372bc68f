"""The Foreman: gives every worker a node, and keeps what was promised to it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from time import perf_counter
from types import TracebackType

from foreman.decisions import Policy
from foreman.dispatcher import Dispatcher
from foreman.events import Event
from foreman.latency import check_declaration
from foreman.loops import new_loop
from foreman.node import Node
from foreman.policy import BestFit
from foreman.statistics import ForemanStatistics, NodeStatistics
from foreman.tuning import Tuning
from foreman.watcher import Watcher
from foreman.worker import Worker, check_worker

logger = logging.getLogger(__name__)

# An idle node costs a thread and no time, so the cap is there against runaways, not to save.
DEFAULT_MAX_NODES = max(8, 2 * (os.cpu_count() or 1))


class Foreman:
    """Places workers on nodes so that every declared latency can be kept, and moves them when not.

    Usable from plain threads and from asyncio programs: no method waits, except `stop`. All
    methods are thread-safe. `with Foreman() as foreman:` starts and stops it.

    Args:
        policy: What decides; None for `BestFit()`, whose arguments are what there is to tune.
        max_nodes: The most nodes, threads that is, there may be.
        clock: A monotonic clock, seconds.
        loop_factory: Makes each node's event loop; None for uvloop, or asyncio where it is missing.
        move_timeout: How long a worker may take to let go of its node, seconds; then it stays. And
            how long to take up work on a node, its first one too; then it is let go, after
            `Worker.on_error` with a `TimeoutError`. Its hook is cancelled then, and closed if it
            has not ended after a quarter of that time more.
        tune_interpreter: Whether the interpreter's switch interval follows the strictest declared
            latency. It is process-wide, and restored by `stop`.
        tune_collector: Whether the garbage collector's pauses are kept below a tenth of the
            strictest declared latency, at a cost in memory that `foreman.collector.Collector`
            tells. It is process-wide, and restored by `stop`.
        on_event: Called with every `foreman.events.Event`, on whichever thread it happened;
            it must be quick. None to override the method, or not to listen.
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        max_nodes: int = DEFAULT_MAX_NODES,
        clock: Callable[[], float] = perf_counter,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        move_timeout: float = 5.0,
        tune_interpreter: bool = True,
        tune_collector: bool = True,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        if isinstance(max_nodes, bool) or not isinstance(max_nodes, int) or max_nodes < 1:
            raise ValueError(f"max_nodes must be a whole number of at least 1, not {max_nodes!r}")
        if isinstance(move_timeout, bool) or not isinstance(move_timeout, (int, float)):
            raise TypeError(f"move_timeout is a number of seconds, not {move_timeout!r}")
        if not move_timeout > 0:
            raise ValueError(f"move_timeout must be a positive time, seconds, not {move_timeout!r}")
        methods = (getattr(policy, name, None) for name in ("assume", "place", "review"))
        if isinstance(policy, type) or not (policy is None or all(map(callable, methods))):
            raise TypeError(f"policy is an object with the methods of Policy, not {policy!r}")
        calls = {"clock": clock, "loop_factory": loop_factory, "on_event": on_event}
        for name, call in calls.items():
            if call is not None and not callable(call):
                raise TypeError(f"{name} is something to be called, not {call!r}")
        self._max_nodes = max_nodes
        self._clock = clock
        self._listener = on_event
        self._dispatcher = Dispatcher(
            self,
            BestFit() if policy is None else policy,
            max_nodes,
            clock,
            loop_factory or new_loop,
            move_timeout,
            Tuning(interpreter=tune_interpreter, garbage=tune_collector),
        )
        # Guarded by the dispatcher's lock.
        self._watcher: Watcher | None = None
        # Guarded by a lock of their own, because events are told when no other lock is held.
        self._counting = threading.Lock()
        self._events: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Foreman: {len(self.nodes)} nodes>"

    def __enter__(self) -> Foreman:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> bool:
        """Begin to watch. Nodes are started when there are workers for them.

        Returns:
            Whether it began now; False, and nothing happens, when it was running already.
        """
        with self._dispatcher.lock:
            if not self._dispatcher.begin():
                return False
            self._watcher = Watcher(self._dispatcher)
            self._watcher.start()
            return True

    def stop(self, timeout: float = 10.0) -> None:
        """Let every worker go, each with its `on_stop`, and end the nodes. Does nothing twice.

        Must not be called from a worker's hook: a node cannot wait for its own end.

        Args:
            timeout: The longest it may take, seconds. A node that is stuck for longer is left
                to end with the process, and logged.

        Raises:
            RuntimeError: It was called on a node's thread.
        """
        if any(node.here for node in self.nodes):
            raise RuntimeError(
                "Foreman.stop was called from a worker on one of its nodes, which would wait for"
                " its own end; call it from another thread, or `remove` a worker"
            )
        ends = self._clock() + timeout
        with self._dispatcher.lock:
            left = self._dispatcher.end()
            watcher, self._watcher = self._watcher, None
        if left is None or watcher is None:
            return
        workers, nodes = left
        watcher.stop(timeout)
        wait([self.remove(worker) for worker in workers], max(0.0, ends - self._clock()))
        self._dispatcher.close(nodes, ends)

    def add(self, worker: Worker) -> Node:
        """Place a worker; returns its node at once, and `on_start` runs there soon.

        Raises:
            Infeasible: No node can keep its declared latency and no more may be spawned.
            NotRunning: The Foreman is not running.
            TypeError: It is no worker, or its class hides what it declares; says what to do.
            ValueError: The worker has a Foreman already.
        """
        check_worker(worker)
        check_declaration(type(worker))
        return self._dispatcher.add(worker)

    def remove(self, worker: Worker) -> Future[None]:
        """Let a worker go: `on_stop` runs on its node, then it has none.

        Returns:
            A future that is done when it has gone; at once when it had been removed already. While
            it is on its way to a node that is a quarter more than `move_timeout` later, at most.

        Raises:
            TypeError: It is no worker.
        """
        check_worker(worker)
        return self._dispatcher.remove(worker)

    def move(self, worker: Worker, node: Node, reason: str = "asked for") -> Future[bool]:
        """Have a worker run on another node, whatever the policy thinks of it.

        The policy does not interfere for a while: both nodes must first keep their promises for
        as long as after any change before they are merged. Where the worker breaks a promise, it
        is moved away again.

        Returns:
            A future: True when it arrived; False when it stayed, was sent elsewhere or removed
            meanwhile.

        Raises:
            NotRunning: The worker, or the node, does not belong to this Foreman.
            TypeError: It is no worker, or no node.
        """
        check_worker(worker)
        if not isinstance(node, Node):
            raise TypeError(f"a worker moves to a Node, one of Foreman.nodes, not to {node!r}")
        return self._dispatcher.move(worker, node, reason)

    def require(self, worker: Worker, seconds: float) -> None:
        """Change a worker's declared latency and place it anew (`worker.required_latency = …`).

        Raises:
            Infeasible: It cannot be kept; the worker stays with what it had declared before.
            InvalidLatency: It is no positive, finite number.
            NotRunning: The worker belongs to another Foreman.
            TypeError: It is no worker.
        """
        check_worker(worker)
        self._dispatcher.require(worker, seconds)

    def spawn(self, reason: str = "asked for") -> Node:
        """Start a node ahead of need. Like any other it is retired when nobody needs it for long.

        Raises:
            Infeasible: There are `max_nodes` already.
            NotRunning: The Foreman is not running.
        """
        return self._dispatcher.spawn(reason)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes there are, oldest first."""
        return self._dispatcher.nodes

    @property
    def max_nodes(self) -> int:
        """The most nodes there may be."""
        return self._max_nodes

    def statistics(self) -> ForemanStatistics:
        """What there is now, and what happened so far."""
        with self._dispatcher.lock:
            views = [(node, node.roster.groups(), node.roster.count) for node in self.nodes]
        with self._counting:
            events = dict(self._events)
        nodes = tuple(
            NodeStatistics(
                name=node.name,
                workers=count,
                load=sum(group.load for group in groups),
                scan_latency=node.scan_latency,
                required_latency=min((g.required_latency for g in groups), default=None),
                stuck=node.stuck,
            )
            for node, groups, count in views
        )
        return ForemanStatistics(nodes=nodes, workers=sum(n.workers for n in nodes), events=events)

    def on_event(self, event: Event) -> None:
        """Something happened; called on whichever thread it did. Must be quick."""
        if self._listener is not None:
            self._listener(event)

    def tell(self, event: Event) -> None:
        """Count an event, log it at DEBUG, and pass it on; a listener that raises is logged."""
        kind = type(event).__name__.lower()
        with self._counting:
            self._events[kind] = self._events.get(kind, 0) + 1
        logger.debug("%s: %s", kind, getattr(event, "reason", ""))
        try:
            self.on_event(event)
        except Exception:
            logger.exception("on_event raised for %r", event)
