"""The histories of this server's groups: begun when first needed, dropped when of no use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from hashlib import blake2b
from time import monotonic
from typing import TYPE_CHECKING

from netserver.backplane import Journal, Record
from netserver.cluster.backfill import Backfill
from netserver.cluster.channel import Channel
from netserver.cluster.delivery import Delivery
from netserver.cluster.frames import Frame, Kind, encode_head, encode_message
from netserver.cluster.frames import Record as FrameRecord
from netserver.cluster.history import Entry, Position
from netserver.cluster.interest import Interest
from netserver.cluster.journal_channel import JournalChannel
from netserver.cluster.journal_writer import JournalWriter, Unstored
from netserver.cluster.local_channel import LocalChannel
from netserver.cluster.rules import RuleBook
from netserver.cluster.sender import Budget, Sender
from netserver.cluster.subjects import Subjects
from netwire import Message

if TYPE_CHECKING:
    from netserver.connection import Connection

logger = logging.getLogger(__name__)

# How often it is looked which channels are not needed, seconds.
SWEEP = 5.0


class Channels:
    """The groups with a history. Owned by the cluster's thread.

    With a journal, what is said is stored there, numbered by it, and delivered when it comes back
    from it. Without, this server numbers what it hears itself, and keeps it while anything
    of it is young enough, so that who lost the connection finds it.

    Args:
        rules: What is kept of which group.
        server: This server's id.
        sender, subjects, interest: The way to the others.
        budget: Of what waits to be stored.
        journal: The engine's; None where it has none.
        alone: Whether there are no other servers.
        post: Has a function called on the cluster's thread, from any other.
    """

    def __init__(
        self,
        rules: RuleBook,
        server: bytes,
        sender: Sender,
        subjects: Subjects,
        interest: Interest,
        budget: Budget,
        journal: Journal | None,
        alone: bool,
        post: Callable[..., object],
    ) -> None:
        self._rules = rules
        self._server = server
        self._sender = sender
        self._subjects = subjects
        self._interest = interest
        self._budget = budget
        self._journal = journal
        self._alone = alone
        self._post = post
        self.backfill = Backfill(sender, subjects, interest, self.entries)
        self._channels: dict[str, Channel] = {}
        self._idle: dict[str, float] = {}  # since when nobody is in it
        self._groups: dict[str, str] = {}  # by their subjects, in the journal
        self._epochs = 0
        self.writer = None if journal is None else JournalWriter(journal, budget)
        self._followed = None if journal is None else Interest(journal.follow, journal.unfollow)

    def __len__(self) -> int:
        return len(self._channels)

    # ---------------------------------------------------------------- members

    def join(self, group: str, connection: Connection, since: Position | None) -> None:
        """One of this server's comes, and wants to know what it missed."""
        self._idle.pop(group, None)
        self._channel(group).join(connection, since)

    def leave(self, group: str, connection: Connection) -> None:
        """One of this server's goes."""
        channel = self._channels.get(group)
        if channel is not None:
            channel.leave(connection)
            if channel.empty:
                self._idle.setdefault(group, monotonic())

    def _channel(self, group: str) -> Channel:
        channel = self._channels.get(group)
        if channel is None:
            channel = self._channels[group] = self._begin(group)
        return channel

    def _begin(self, group: str) -> Channel:
        rules = self._rules.of(group)
        if self._journal is not None and self._followed is not None:
            subject = self._subjects.group(group)
            self._groups[subject] = group
            return JournalChannel(group, rules, self._post, subject, self._journal, self._followed)
        self._epochs += 1
        self._interest.want(self._subjects.group(group))
        epoch = f"{self._server.hex()}.{self._epochs}"
        channel = LocalChannel(group, rules, self._post, epoch)
        if self._alone:
            channel.begin(())
        else:
            self.backfill.ask(group, channel.rules.size, channel.begin)
        return channel

    def _end(self, group: str) -> None:
        channel = self._channels.pop(group)
        self._idle.pop(group, None)
        channel.close()
        if self._journal is None:
            self._interest.unwant(self._subjects.group(group))
        else:
            self._groups.pop(self._subjects.group(group), None)

    # ---------------------------------------------------------------- saying something

    def say(self, group: str, message: Message, id: str, delivery: Delivery, charged: int) -> None:
        """Something is said in a group, by this server."""
        record = encode_message(Kind.ENTRY, message, key=id)
        subject = self._subjects.group(group)
        if self.writer is not None:
            payload = encode_head(self._server, group) + record
            # A journal's keys are short and plain, whatever groups and ids are made of.
            key = blake2b(f"{group}\0{id}".encode(), digest_size=20).hexdigest()
            self.writer.append(subject, Unstored(payload, key, delivery, charged))
            return
        self._say_here(group, message, id, delivery)
        self._sender.add(subject, group, record, charged=charged)

    def _say_here(self, group: str, message: Message, id: str, delivery: Delivery | None) -> None:
        channel = self._channel(group)
        assert isinstance(channel, LocalChannel)
        if channel.empty:
            self._idle.setdefault(group, monotonic())
        channel.say(message, id, delivery)

    def entries(self, group: str) -> Iterable[Entry]:
        """What this server has of the history of a group, oldest first."""
        channel = self._channels.get(group)
        return () if channel is None else channel.log.since(None)[1]

    def take(self, frame: Frame, record: FrameRecord) -> None:
        """Something was said in a group, by another server; without a journal."""
        if self._journal is None and frame.name in self._channels:
            self._say_here(frame.name, record.message, record.key, None)

    def follow(self, subject: str, previous: int, record: Record) -> None:
        """The journal has stored something."""
        channel = self._channels.get(self._groups.get(subject, ""))
        if isinstance(channel, JournalChannel):
            channel.take(previous, record)

    # ---------------------------------------------------------------- in time

    def reload(self) -> None:
        """The link is up again: what was stored meanwhile was missed."""
        for channel in self._channels.values():
            if isinstance(channel, JournalChannel):
                channel.reload()

    async def run(self) -> None:
        """Follow the journal, and drop what is not needed, until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._followed is not None:
                group.create_task(self._followed.run())
            group.create_task(self._sweep())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            now = monotonic()
            for group, since in list(self._idle.items()):
                channel = self._channels[group]
                channel.log.trim()
                # What a journal has can be read again; what only this server has is kept.
                if (self._journal is not None and now - since > SWEEP) or not len(channel.log):
                    self._end(group)

    def close(self) -> None:
        """Store and follow nothing more."""
        if self.writer is not None:
            self.writer.close()
        for group in list(self._channels):
            self._end(group)
