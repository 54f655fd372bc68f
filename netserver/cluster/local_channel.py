"""A group whose history this server numbers and keeps by itself, where no journal does for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from netserver.backlog import OVERHEAD
from netserver.cluster.backfill import BackfillEntry
from netserver.cluster.channel import Channel
from netserver.cluster.delivery import Delivery, Outcome
from netserver.cluster.history import Entry, Position
from netserver.cluster.rules import GroupRules
from netwire import Message

# So many messages wait until it is known what was said before them, and as many bytes as are kept.
MOST_HELD = 10_000


class LocalChannel(Channel):
    """A history of this server's own, in its own order: where no engine keeps one for all.

    Its epoch is this server's, so who comes back to another one is not recovered there.

    Args:
        group, rules, post: As for `Channel`.
        epoch: Names this history.
    """

    def __init__(
        self,
        group: str,
        rules: GroupRules,
        post: Callable[..., object],
        epoch: str,
    ) -> None:
        super().__init__(group, rules, post)
        self.log.reset(epoch)
        # What was said until it is known what was said before.
        self._held: list[tuple[Message, str, Delivery | None]] = []
        self._held_size = 0

    def begin(self, earlier: Iterable[BackfillEntry]) -> None:
        """It is known what was said before, on other servers. Does nothing twice."""
        if self._ready:
            return
        for entry in earlier:
            self._note(entry.message, entry.id, entry.at)
        self.become_ready()
        held, self._held = self._held, []
        for message, id, delivery in held:
            self.say(message, id, delivery)

    def say(self, message: Message, id: str, delivery: Delivery | None = None) -> None:
        """Something is said in the group, here or, without a delivery, on another server."""
        if not self._ready:
            self._held.append((message, id, delivery))
            self._held_size += len(message) + OVERHEAD
            if len(self._held) >= MOST_HELD or self._held_size > self.rules.size:
                self.begin(())
            return
        self.log.trim()
        position = self._note(message, id, time.time())
        if delivery is not None:
            delivery.position = position
            delivery.settle(Outcome.QUEUED)

    def _note(self, message: Message, id: str, at: float) -> Position | None:
        """Where it is; None where it was said before."""
        if self.log.has(id):
            return None
        position = Position(self.log.epoch, self.log.last + 1)
        self.deliver(Entry(position, message, id, at))
        return position

    def close(self) -> None:
        for _, _, delivery in self._held:
            if delivery is not None:
                delivery.settle(Outcome.UNKNOWN)
        self._held.clear()
