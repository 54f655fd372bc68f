"""The threads behind the nodes: started, kept in reserve, and ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from foreman.node import Node

if TYPE_CHECKING:
    from foreman.worker import Worker

logger = logging.getLogger(__name__)


class NodePool:
    """Makes nodes and ends them, with one in reserve so that a burst waits for no thread.

    Guarded by the Foreman's lock, which `end` and `close` must be called without.

    Args:
        loop_factory: Makes each node's event loop.
        clock: A monotonic clock, seconds.
        guard: The Foreman's lock.
        report: Called by a node, on its thread, with what its workers have cost.
        ended: Called by a node, on its thread, when it runs nothing any more.
    """

    def __init__(
        self,
        loop_factory: Callable[[], asyncio.AbstractEventLoop],
        clock: Callable[[], float],
        guard: AbstractContextManager[bool],
        report: Callable[[Node, list[tuple[Worker, float]]], None],
        ended: Callable[[Node], None],
    ) -> None:
        self._loop_factory = loop_factory
        self._clock = clock
        self._guard = guard
        self._report = report
        self._ended = ended
        self._made = 0
        self._spare: Node | None = None
        self._dismissed: list[Node] = []

    def take(self) -> Node:
        """A running node: the one in reserve, or a new one."""
        node, self._spare = self._spare, None
        return node or self._make()

    def reserve(self) -> None:
        """Have one in reserve, if one can be made: it is not needed yet."""
        if self._spare is None:
            try:
                self._spare = self._make()
            except (OSError, RuntimeError) as error:  # such as for want of descriptors or threads
                logger.debug("no node in reserve: %s", error)

    def dismiss(self, node: Node) -> None:
        """End a node that has nothing to do; waits for nothing, but `close` will."""
        self._dismissed = [other for other in self._dismissed if not other.stop(0.0)]
        if not node.stop(0.0):
            self._dismissed.append(node)

    def _make(self) -> Node:
        self._made += 1
        name = f"node-{self._made}"
        loop = self._loop_factory()
        node = Node(name, loop, self._clock, self._guard, self._report, self._ended)
        try:
            node.start()
        except RuntimeError:  # the system gives no more threads
            loop.close()
            raise
        return node

    def close(self, timeout: float) -> None:
        """End the one in reserve, and wait for those that were dismissed."""
        with self._guard:
            spare, self._spare = self._spare, None
            dismissed, self._dismissed = self._dismissed, []
        for node in (*dismissed, *(() if spare is None else (spare,))):
            self.end(node, timeout)

    def end(self, node: Node, timeout: float) -> bool:
        """End a node's thread; False, and it is logged, when that takes longer than ``timeout``."""
        if node.stop(timeout):
            return True
        logger.error("%s did not end in time; it is busy with %r", node.name, node.holder)
        return False
