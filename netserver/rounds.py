"""The rounds of a node: its connections are looked at now and then, by one timer for all."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from foreman import Node
from netserver.wheel import Slot, Wheel

if TYPE_CHECKING:
    from netserver.config import ServerConfig
    from netserver.heartbeat import Pulse

logger = logging.getLogger(__name__)

# How long connections are looked at before the others on the node are due, seconds: about a hundred
# of them.
QUANTUM = 0.4e-3

# Slots to the shortest period, so that nobody is looked at much too late, and the longest and the
# shortest of them, seconds.
SLOTS = 32
LONGEST_TICK = 0.25
SHORTEST_TICK = 0.005


class Rounds:
    """Looks at one server's connections on one node when they are due.

    Ten thousand that came in one burst are due in one burst: they are looked at in turns of the
    loop, a quantum at a time. That is no hold of any of them: it is upkeep, bounded like the
    Foreman's own, and so that it keeps nobody from being at rest. What follows from it, such as a
    close, is.

    Owned by the node's thread.

    Args:
        rounds: Those of all nodes: these are among them while they have something to look at.
        node: Where.
        config: The periods.
    """

    __slots__ = ("_all", "_node", "_timer", "_timer_at", "_wheel")

    def __init__(self, rounds: dict[Node, Rounds], node: Node, config: ServerConfig) -> None:
        self._all = rounds
        self._node = node
        shortest = min(config.periods, default=1.0)
        tick = min(LONGEST_TICK, max(SHORTEST_TICK, shortest / SLOTS))
        self._wheel: Wheel[Pulse] = Wheel(tick)
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0
        rounds[node] = self

    def add(self, pulse: Pulse, at: float) -> Slot[Pulse]:
        """Have a connection looked at; returns what `remove` has to be told."""
        slot = self._wheel.add(pulse, at)
        if self._timer is None or slot.at < self._timer_at:
            self._arm(slot.at)
        return slot

    def remove(self, pulse: Pulse, slot: Slot[Pulse]) -> None:
        """It ended, or leaves this node."""
        slot.discard(pulse)
        if not self._wheel:
            self._stop()

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._node.loop.call_later(max(0.0, at - self._node.clock()), self._turn)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._all.get(self._node) is self:
            del self._all[self._node]

    def _turn(self) -> None:
        node, wheel = self._node, self._wheel
        self._timer = None
        now = node.clock()
        ends = now + QUANTUM
        while (pulse := wheel.pop(now)) is not None:
            try:
                pulse.beat(now)
            except Exception as error:  # none may end what it shares with others
                logger.exception("looking at a connection failed")
                pulse.failed(error)
            now = node.clock()
            if now >= ends:
                break
        at = wheel.next_at
        if at is None:
            self._stop()
        else:
            self._arm(at)  # in place of what was armed meanwhile; at once where more are due
