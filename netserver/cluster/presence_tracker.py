"""Keeps the presence of this server's groups in step with the other servers'."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from time import monotonic

from netserver.cluster.asked import Asked
from netserver.cluster.config import ClusterConfig
from netserver.cluster.frames import LONGEST_NAME, BadFrame, Frame, Kind, Record, encode_record
from netserver.cluster.interest import Interest
from netserver.cluster.peers import Peers
from netserver.cluster.presence import (
    Change,
    GroupPresence,
    Member,
    Notice,
    decode_notice,
    encode_notice,
)
from netserver.cluster.sender import Sender
from netserver.cluster.subjects import Subjects

logger = logging.getLogger(__name__)

# Changes are told together, so long after the first, seconds: a thousand who come at once are a
# few notices. It is well below what a person takes for at once.
GATHER = 0.02

# After the link was down, so many heartbeats are the others given to be back, and to tell their
# shares. Who has not is asked: perhaps nobody of theirs is in the group any more, and what told so
# was lost with the link.
TO_BE_BACK = 3


class PresenceTracker:
    """Who is in the groups whose rules ask for presence. Owned by the cluster's thread.

    `members` may be called by any thread; a lock guards the tables for it.

    Args:
        config: How often, and how long.
        server: This server's id.
        sender, subjects, interest: The way to the others.
        tell: Called with each group and what has changed in it.
    """

    def __init__(
        self,
        config: ClusterConfig,
        server: bytes,
        sender: Sender,
        subjects: Subjects,
        interest: Interest,
        tell: Callable[[str, Change], None],
    ) -> None:
        self._server = server
        self._sender = sender
        self._subjects = subjects
        self._interest = interest
        self._tell = tell
        self._heartbeat = config.heartbeat
        self._resync = config.resync
        self._lock = Lock()
        self._groups: dict[str, GroupPresence] = {}
        self._watched: set[str] = set()
        self._greeted: set[str] = set()
        self._fresh: set[str] = set()  # greeted since the last beat
        self._changed: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._asked = Asked()
        self._version = 0  # the highest of a group that this server has nobody in any more
        self._up: float | None = None  # when the link was up again, while others may not be
        self._greetings: set[asyncio.Task[None]] = set()
        self.peers = Peers(config.dead_after, self._watch, self._unwatch)

    def members(self, group: str) -> list[Member]:
        """Who is in a group, as far as this server knows. Any thread."""
        with self._lock:
            presence = self._groups.get(group)
            return [] if presence is None else presence.members()

    def watch(self, group: str) -> None:
        """Know who is in a group, whether one of this server's is or not."""
        if group not in self._watched:
            self._watched.add(group)
            self._interest.want(self._subjects.group(group))
            self._begin(group)

    # ---------------------------------------------------------------- this server's members

    def join(self, group: str, member: Member) -> None:
        """One of this server's comes."""
        presence = self._begin(group)
        with self._lock:
            change = presence.join(member)
        self._note(group, change)

    def _begin(self, group: str) -> GroupPresence:
        """Have to do with a group, from now on if not before."""
        if (presence := self._groups.get(group)) is not None:
            return presence
        with self._lock:
            presence = self._groups[group] = GroupPresence(self._version)
        task = asyncio.get_running_loop().create_task(self._greet(group))
        self._greetings.add(task)
        task.add_done_callback(self._greetings.discard)
        return presence

    def leave(self, group: str, id: int) -> None:
        """One of this server's goes."""
        with self._lock:
            presence = self._groups.get(group)
            if presence is None:
                return
            change = presence.leave(id)
        self._note(group, change)

    def _note(self, group: str, change: Change) -> None:
        if not change:
            return
        self._tell(group, change)
        if group in self._greeted:
            self._tell_later(group)

    def _tell_later(self, group: str) -> None:
        self._changed[group] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER, self._tell_others)

    def _tell_others(self) -> None:
        self._timer = None
        changed, self._changed = self._changed, {}
        for group in changed:
            if (presence := self._groups.get(group)) is None:
                continue
            with self._lock:
                notices = presence.untold()
            self._publish(group, notices)
            if not presence.own.members and group not in self._watched:
                self._part(group)

    def _part(self, group: str) -> None:
        """Nobody of this server is in it any more; the others have been told."""
        with self._lock:
            presence = self._groups.pop(group)
        # The others may know that version, and when it is begun anew, what comes is later.
        self._version = max(self._version, presence.own.version)
        self._greeted.discard(group)
        self._asked.part(group)
        self.peers.part(group)

    async def _greet(self, group: str) -> None:
        """Ask the others who is there, once everything that they tell is heard."""
        await self._interest.ready(self._subjects.group(group))
        self._greeted.add(group)
        self._fresh.add(group)
        self._say_hello(group)

    def _say_hello(self, group: str) -> None:
        if presence := self._groups.get(group):
            with self._lock:
                notices = presence.untold(hello=True)
            self._publish(group, notices)
            self._changed.pop(group, None)
            if not presence.own.members and group not in self._watched:
                self._part(group)

    def _publish(self, group: str, notices: list[Notice]) -> None:
        for notice in notices:
            record = encode_record(Kind.PRESENCE, encode_notice(notice))
            self._sender.add(self._subjects.group(group), group, record)

    # ---------------------------------------------------------------- the others

    def take(self, frame: Frame, record: Record) -> None:
        """Another server tells something of its share of a group."""
        server = frame.sender.hex()
        if record.kind is Kind.PRESENCE:
            _, notice = decode_notice(record.body, server)
            self._take_notice(frame.name, server, notice)
        elif record.kind is Kind.MEMBERS:
            group, notice = decode_notice(record.body, server)
            if group is None:
                raise BadFrame("members of no group")
            self._take_whole(group, server, notice)
        elif record.kind is Kind.ASK_MEMBERS:
            if len(record.body) > LONGEST_NAME:
                raise BadFrame("a group's name is too long")
            try:
                group = record.body.decode()
            except UnicodeDecodeError:
                raise BadFrame("a group's name is not UTF-8") from None
            self._tell_whole(group, server)
        elif record.kind is Kind.BYE:
            self._lose(server, self.peers.forget(server))

    def _take_notice(self, group: str, server: str, notice: Notice) -> None:
        presence = self._groups.get(group)
        if presence is None or not self.peers.meet(server, group, monotonic()):
            return
        with self._lock:
            change, ask = presence.take(server, notice, monotonic())
        if change:
            self._tell(group, change)
        if ask:
            self._ask(group, server)
        if notice.hello:
            self._tell_whole(group, server)

    def _take_whole(self, group: str, server: str, notice: Notice) -> None:
        presence = self._groups.get(group)
        if presence is None or not self.peers.meet(server, group, monotonic()):
            return
        with self._lock:
            change, ask = presence.take_whole(server, notice, monotonic())
        if notice.last:
            self._asked.answered(group, server)
        if change:
            self._tell(group, change)
        if ask:
            self._ask(group, server)

    def _tell_whole(self, group: str, server: str) -> None:
        self._sender.answer(bytes.fromhex(server), self._whole(group))

    def _whole(self, group: str) -> Iterator[bytes]:
        """The records that tell the own share of a group."""
        presence = self._groups.get(group)
        for part in [Notice(self._version)] if presence is None else presence.whole():
            yield encode_record(Kind.MEMBERS, encode_notice(part, group))

    def _ask(self, group: str, server: str) -> None:
        if self._asked.note(group, server, monotonic()):
            self._send_question(group, server)

    def _send_question(self, group: str, server: str) -> None:
        question = encode_record(Kind.ASK_MEMBERS, group.encode())
        self._sender.answer(bytes.fromhex(server), [question])

    def _ask_silent(self, since: float) -> None:
        """Ask those who have told nothing of their shares for so long."""
        for group, presence in self._groups.items():
            for server in presence.silent(since):
                self._ask(group, server)

    # ---------------------------------------------------------------- life and death

    async def run(self) -> None:
        """Beat, and make up for what was missed, until cancelled."""
        beat = encode_record(Kind.BEAT)
        me = self._server
        resync_at = monotonic() + self._resync
        while True:
            self._sender.add(self._subjects.beat(me), me.hex(), beat)
            await asyncio.sleep(self._heartbeat)
            now = monotonic()
            if not self._sender.link_up:
                continue
            # Between two brokers of a cluster, two that came at once may not have heard each other.
            self._tell_versions(self._fresh & self._greeted)
            self._fresh.clear()
            for group, server in self._asked.overdue(now):
                self._send_question(group, server)
            if self._up is not None and now - self._up >= TO_BE_BACK * self._heartbeat:
                self._ask_silent(self._up)
                self._up = None
            if now >= resync_at:
                resync_at = now + self._resync
                self._compare()
                # Each of the others has told its version since then, or what told it was lost.
                self._ask_silent(now - 2 * self._resync)

    def hear(self, server: str) -> bool:
        """Another server was heard from. Returns whether it had been taken for gone."""
        groups = self.peers.hear(server, monotonic())
        for group in groups:
            if group in self._groups:
                self._ask(group, server)
        return bool(groups)

    def find_dead(self, proven: float) -> None:
        """Whoever was not heard of is gone, with its members.

        Args:
            proven: When the link still was what it should be; `excuse` where it is not.
        """
        for server in self.peers.find_dead(proven):
            logger.warning("server %s has not been heard of and is taken for gone", server)
            self._lose(server, self.peers.groups(server))

    def excuse(self) -> None:
        """Nobody could be heard until now: the own link is down, or this thread was held up."""
        self.peers.excuse(monotonic())

    def greet_all(self) -> None:
        """The link is up again: whatever was told meanwhile was missed."""
        self.excuse()
        self._up = monotonic()
        for group in list(self._greeted):
            self._say_hello(group)

    def say_goodbye(self) -> None:
        """This server goes, and its members with it."""
        me = self._server
        self._sender.add(self._subjects.beat(me), me.hex(), encode_record(Kind.BYE))

    def _compare(self) -> None:
        """Tell the version of each share, so that who has missed something asks for it."""
        self._tell_versions(self._greeted)

    def _tell_versions(self, groups: set[str]) -> None:
        for group in groups:
            if presence := self._groups.get(group):
                self._publish(group, [Notice(presence.own.version)])

    def _lose(self, server: str, groups: Iterable[str]) -> None:
        for group in list(groups):
            self._asked.answered(group, server)
            if (presence := self._groups.get(group)) is None:
                continue
            with self._lock:
                change = presence.lose(server)
            if change:
                self._tell(group, change)

    def _watch(self, server: str) -> None:
        self._interest.want(self._subjects.beat(bytes.fromhex(server)))

    def _unwatch(self, server: str) -> None:
        self._interest.unwant(self._subjects.beat(bytes.fromhex(server)))
