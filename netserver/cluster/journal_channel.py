"""A group whose history a journal keeps for all servers: followed, and read where missed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from netserver.backlog import OVERHEAD
from netserver.backplane import BackplaneError, Journal, Page, Record
from netserver.cluster.channel import Channel
from netserver.cluster.frames import OVERHEAD as FRAME_OVERHEAD
from netserver.cluster.frames import BadFrame, Kind, decode
from netserver.cluster.history import Entry, Position
from netserver.cluster.interest import Interest
from netserver.cluster.rules import GroupRules
from netwire import Backoff

if TYPE_CHECKING:
    from netserver.connection import Connection

logger = logging.getLogger(__name__)

# So much of what comes is held while the rest is read, and no more bytes than are kept; with more,
# it is read once more.
MOST_HELD = 1000

# So often it is read for somebody who says that they have heard more.
MOST_READS = 3

AGAIN = Backoff(first=0.1, cap=2.0)


class JournalChannel(Channel):
    """A group with a history in a journal. Owned by the cluster's thread.

    Each message tells the offset of the one before it. So what was missed is noticed, by whichever
    way, and read before anything later is delivered.

    Args:
        group, rules, post: As for `Channel`.
        subject: The group's in the journal.
        journal: Keeps it.
        interest: What is followed of the journal.
    """

    def __init__(
        self,
        group: str,
        rules: GroupRules,
        post: Callable[..., object],
        subject: str,
        journal: Journal,
        interest: Interest,
    ) -> None:
        super().__init__(group, rules, post)
        self._subject = subject
        self._journal = journal
        self._interest = interest
        self._held: list[tuple[int, Record]] = []
        self._held_size = 0
        # No less than all that is kept: each message has the frame around it in the journal.
        self._most = self.rules.size + self.rules.count * FRAME_OVERHEAD
        self._again = False
        interest.want(subject)
        self._task: asyncio.Task[None] | None = None
        self.reload()

    def join(self, connection: Connection, since: Position | None) -> None:
        if since is not None and self._ready and self._is_ahead(since):
            self.reload()  # they are served when this server has heard as much
        super().join(connection, since)

    def close(self) -> None:
        self._interest.unwant(self._subject)
        if self._task is not None:
            self._task.cancel()

    def reload(self) -> None:
        """Something may have been missed: read it, and hold back what comes meanwhile."""
        self._ready = False
        if self._task is not None and not self._task.done():
            self._again = True
            return
        self._task = asyncio.get_running_loop().create_task(self._load())

    def take(self, previous: int, record: Record) -> None:
        """One more was stored, behind the one at ``previous``."""
        if self._ready and previous <= self.log.last:
            self._accept(record)
            return
        self._held.append((previous, record))
        self._held_size += len(record.payload) + OVERHEAD
        if len(self._held) > MOST_HELD or self._held_size > self.rules.size + OVERHEAD:
            self._drop_held()
            self._again = True
        if self._ready:
            self.reload()

    async def _load(self) -> None:
        failures = reads = 0
        while True:
            self._again = False
            await self._interest.ready(self._subject)
            try:
                after = self._have
                page = await self._journal.read(self._subject, after, self._most)
            except (BackplaneError, TimeoutError) as error:
                failures += 1
                logger.debug("history of %r cannot be read: %s", self.group, error)
                await asyncio.sleep(AGAIN.delay(failures, random.random))
                continue
            self._merge(page, after)
            reads += 1
            if not self._again and (reads >= MOST_READS or not self._is_awaited()):
                break
        self._task = None
        self.become_ready()

    def _is_ahead(self, position: Position) -> bool:
        """Whether somebody has heard more, by another server whose link is up already, perhaps."""
        return position.epoch == self.log.epoch and position.offset > self.log.last

    def _is_awaited(self) -> bool:
        """Whether one of those who come has heard more."""
        return any(since is not None and self._is_ahead(since) for since in self._coming.values())

    @property
    def _have(self) -> int:
        """The offset up to which nothing has to be read."""
        return self.log.last if self.log.epoch == self._journal.epoch else 0

    def _merge(self, page: Page, after: int) -> None:
        if after and (page.epoch != self.log.epoch or page.last < after):
            # The journal was made anew while it was asked for what came behind the old one's; or
            # it has lost its end, with the broker's machine, and numbers on from before it.
            self.log.reset(page.epoch)
            self.begin_anew()
            self._drop_held()
            self._again = True
            return
        if page.epoch != self.log.epoch or page.floor > self.log.last:
            self.log.reset(page.epoch, page.floor)
            self.begin_anew()
        for record in page.records:
            self._accept(record)
        self.log.skip(page.last)
        held = self._drop_held()
        for previous, record in held:
            if previous > self.log.last:
                self._again = True  # not even that was all
                break
            self._accept(record)

    def _drop_held(self) -> list[tuple[int, Record]]:
        held, self._held, self._held_size = self._held, [], 0
        return held

    def _accept(self, record: Record) -> None:
        if record.offset <= self.log.last:
            return
        try:
            frame = decode(record.payload)
            if frame.name != self.group or frame.messages or len(frame.records) != 1:
                raise BadFrame(f"an entry of {frame.name!r}")
            (said,) = frame.records
            if said.kind is not Kind.ENTRY or self.log.has(said.key):
                raise BadFrame("no entry, or one that was there before")
            message = said.message
        except BadFrame as error:
            logger.debug("in the history of %r: %s", self.group, error)
            self.log.skip(record.offset)
            return
        position = Position(self.log.epoch, record.offset)
        self.deliver(Entry(position, message, said.key, record.at))
