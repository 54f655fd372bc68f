"""Moves off nodes, as a review has ordered them: a few at a time, and to the end or called off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from foreman.decisions import Place, Refuse, Relocate, Retire
from foreman.evacuation import Evacuation
from foreman.events import Event, Retired, Spawned

if TYPE_CHECKING:
    from foreman.carrier import Carrier
    from foreman.node import Node
    from foreman.seat import Seat
    from foreman.seating import Seating

logger = logging.getLogger(__name__)

# For how many a place is looked for before the lock is let go: nodes wait for it, too.
AT_A_TIME = 8


# Those who need not hurry go the more slowly the less of the one processor is idle that the
# interpreter lock leaves, but not more slowly than as if so much of it were.
LEAST_IDLE = 0.05


class Evacuations:
    """The evacuations under way, at most one of each node. Guarded by the lock of the seating.

    Args:
        seating: Who sits where.
        carrier: Carries workers.
        tell: Passes events on; called without the lock.
    """

    def __init__(self, seating: Seating, carrier: Carrier, tell: Callable[[Event], None]) -> None:
        self._seating = seating
        self._carrier = carrier
        self._tell = tell
        self._by_node: dict[Node, Evacuation] = {}

    def __len__(self) -> int:
        return len(self._by_node)

    # ---------------------------------------------------------------- with the lock held

    def order(self, action: Relocate | Retire) -> Evacuation:
        """Enter what a review has decided; `go_on` begins with it."""
        node = self._seating.node(action.node)
        retires = isinstance(action, Retire)
        if isinstance(action, Relocate):
            seats = self._seating.ledger.accuse(action, self._seating.clock())
        else:
            seats = self._seating.ledger.pardon(node)
        evacuation = self._by_node.get(node)
        if evacuation is not None and evacuation.retires is retires:
            evacuation.extend(seats)
            return evacuation
        if evacuation is not None:
            self._call_off(evacuation)
        self._seating.ledger.begin_action(node, retiring=retires)
        evacuation = Evacuation(node, seats, action.reason, retires=retires)
        self._by_node[node] = evacuation
        return evacuation

    def drop_out(self, seat: Seat) -> Evacuation | None:
        """The worker has been moved, or will not be; returns the evacuation that goes on."""
        evacuation, seat.evacuation = seat.evacuation, None
        if evacuation is not None:
            evacuation.on_the_way -= 1
        return evacuation

    def dismiss_emptied(self, events: list[Event]) -> None:
        """End the nodes that everybody has left who was to leave."""
        for node, evacuation in list(self._by_node.items()):
            if not evacuation.is_over:
                continue
            if node.roster.count:  # such as one that was on its way there already
                self._call_off(evacuation)
            elif not self._seating.bound[node]:
                del self._by_node[node]
                self._seating.ledger.strike_off(node)
                self._seating.pool.dismiss(node)
                events.append(Retired(node, evacuation.reason))

    def call_off_retiring(self, node: Node) -> None:
        """Somebody is sent to the node: it goes on, if it was to end."""
        if self._seating.ledger.is_retiring(node):
            self._call_off(self._by_node[node])

    def clear(self) -> None:
        """Forget them all."""
        self._by_node.clear()

    def _call_off(self, evacuation: Evacuation) -> None:
        """Nobody else needs to leave the node, which goes on."""
        evacuation.call_off()
        # It may have been forgotten, with its node, by a stop; there is no other of that node.
        self._by_node.pop(evacuation.node, None)
        self._seating.ledger.end_action(evacuation.node, self._seating.clock())
        self._seating.ledger.unsettle(evacuation.node, self._seating.clock())

    # ---------------------------------------------------------------- without it

    def allow(self, seconds: float) -> None:
        """So much time has passed since the last call: more of those who are to leave may go."""
        if not self._by_node:
            return
        with self._seating.lock:
            evacuations = list(self._by_node.values())
            idle = max(LEAST_IDLE, 1.0 - self._seating.lock_in_use())
            for evacuation in evacuations:
                evacuation.allow(seconds * idle)
        for evacuation in evacuations:
            self.go_on(evacuation)

    def go_on(self, evacuation: Evacuation | None) -> None:
        """Move the next ones; at the end, let the node be judged anew, or end."""
        while evacuation is not None and self._move_some(evacuation):
            pass

    def _move_some(self, evacuation: Evacuation) -> bool:
        """Move the next few; returns whether there are more that may go now."""
        events: list[Event] = []
        begun: list[Seat] = []
        asked = 0
        failure: Exception | None = None
        with self._seating.lock:
            if not self._seating.running:
                return False
            try:
                while asked < AT_A_TIME and (seat := evacuation.next()) is not None:
                    asked += 1
                    if self._send_away(seat, evacuation, events):
                        begun.append(seat)
            except Exception as error:
                failure = error
                self._call_off(evacuation)
            node = evacuation.node
            ended = evacuation.is_over and not evacuation.retires
            if ended and self._by_node.get(node) is evacuation:
                del self._by_node[node]
                self._seating.ledger.end_action(node, self._seating.clock())
        if failure is not None:  # such as a policy of the user's, or want of descriptors
            logger.error("no place for those who leave %s", node.name, exc_info=failure)
        for event in events:
            self._tell(event)
        for seat in begun:
            self._carrier.fetch(seat.worker, seat, seat.worker._home)
        return asked == AT_A_TIME

    def _send_away(self, seat: Seat, evacuation: Evacuation, events: list[Event]) -> bool:
        """Find one worker another node; False when there is none for it."""
        demand, node = self._seating.ledger.known(seat), evacuation.node
        decision = self._seating.decide(demand, avoid=node)
        if isinstance(decision, Place):
            target = self._seating.node(decision.node)
        elif isinstance(decision, Refuse) or evacuation.retires:
            if evacuation.retires:  # it was not to cost others a node
                self._call_off(evacuation)
            return False
        else:
            target = self._seating.enlist()
            events.append(Spawned(target, evacuation.reason))
        begin = self._seating.reseat(seat, target, demand, evacuation.reason)
        if begin:
            seat.evacuation = evacuation
            evacuation.on_the_way += 1
        return begin
