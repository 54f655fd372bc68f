"""A group with a history on this server: delivers what is said, and serves who comes."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from netserver.backlog import OVERHEAD
from netserver.broadcast import relay, relay_to
from netserver.cluster.history import Entry, History, Log, Position, Recovery
from netserver.cluster.rules import GroupRules
from netserver.interjection import hand_recovery
from netserver.outflow import check_message
from netwire import Message

if TYPE_CHECKING:
    from netserver.connection import Connection

logger = logging.getLogger(__name__)

# So many messages are kept for somebody who is still busy with what they missed before, of no more
# bytes than the history has; with more, they are served anew.
MOST_BEHIND = 1000


@define(eq=False)
class _Served:
    """What somebody who comes was handed, and what was said since.

    Attributes:
        recovery: What they missed.
        since: What was said since; None where that is too much.
        size: How much it is, bytes.
    """

    recovery: Recovery
    since: list[Message] | None = field(factory=list)
    size: int = 0

    def add(self, message: Message, most: int) -> None:
        """One more was said."""
        if self.since is None:
            return
        self.since.append(message)
        self.size += len(message) + OVERHEAD
        if len(self.since) > MOST_BEHIND or self.size > most:
            self.since = None


class Channel(ABC):
    """One group with a history. Owned by the cluster's thread.

    A member comes in two steps, so that nothing is lost or doubled between what was said before and
    what is said from now on: it is handed what it missed, and when `Connection.on_recovery`
    has ended, what was said meanwhile, and everything after that.

    Args:
        group: Its name.
        rules: What is kept, with a history.
        post: Has a function called on the cluster's thread, from any other.
    """

    def __init__(self, group: str, rules: GroupRules, post: Callable[..., object]) -> None:
        self.group = group
        self._stamp = rules.stamp
        self._post = post
        history = rules.history
        assert history is not None
        self.rules: History = history
        self.log = Log(history, time.time)
        self._members: dict[Connection, None] = {}
        self._coming: dict[Connection, Position | None] = {}  # and where they had read to
        self._served: dict[Connection, _Served] = {}  # of those, who has been handed what
        self._ready = False

    @property
    def empty(self) -> bool:
        """Whether nobody is in it or comes."""
        return not self._members and not self._coming

    def join(self, connection: Connection, since: Position | None) -> None:
        """Somebody comes."""
        self.leave(connection)
        self._coming[connection] = since
        if self._ready:
            self._recover(connection, since)

    def leave(self, connection: Connection) -> None:
        """Somebody goes."""
        self._members.pop(connection, None)
        self._coming.pop(connection, None)
        self._served.pop(connection, None)

    @abstractmethod
    def close(self) -> None:
        """It is not needed any more."""

    # ---------------------------------------------------------------- for subclasses

    def become_ready(self) -> None:
        """What was said before is known: those who wait are served."""
        self._ready = True
        for connection, since in list(self._coming.items()):
            if connection not in self._served:
                self._recover(connection, since)

    def begin_anew(self) -> None:
        """What comes next does not follow on what members had: they are told, as when they came."""
        for connection in (*self._members, *self._served):
            self._coming[connection] = None
        self._members.clear()
        self._served.clear()

    def deliver(self, entry: Entry) -> None:
        """One more was said."""
        self.log.append(entry)
        if not self._members and not self._served:
            return
        message = self._message(entry)
        relay(self._members, message)
        for served in self._served.values():
            served.add(message, self.rules.size + OVERHEAD)

    def _message(self, entry: Entry) -> Message:
        if self._stamp is None:
            return entry.message
        try:
            stamped = self._stamp(entry)
            check_message(stamped)
            return stamped
        except Exception:
            logger.exception("the stamp of group %r raised", self.group)
            return entry.message

    # ---------------------------------------------------------------- two steps

    def _recover(self, connection: Connection, since: Position | None) -> None:
        recovered, entries = self.log.since(since)
        recovery = Recovery(
            self.group,
            recovered,
            self.log.position,
            entries,
            tuple(map(self._message, entries)),
        )
        self._served[connection] = _Served(recovery)
        hand_recovery(connection, recovery, self._catch_up)

    def _catch_up(self, connection: Connection, recovery: Recovery) -> None:
        """It has taken its recovery. Any thread."""
        self._post(self._go_on, connection, recovery)

    def _go_on(self, connection: Connection, recovery: Recovery) -> None:
        served = self._served.get(connection)
        if served is None or served.recovery is not recovery:
            return  # it has gone, or is served anew
        if served.since is None:
            self._recover(connection, recovery.position)
            return
        del self._coming[connection], self._served[connection]
        self._members[connection] = None
        for message in served.since:
            relay_to(connection, message)
