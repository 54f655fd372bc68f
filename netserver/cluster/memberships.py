"""Who of this server is in which group, and what the cluster's thread does about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netserver.cluster.channels import Channels
from netserver.cluster.interest import Interest
from netserver.cluster.presence import Member
from netserver.cluster.presence_tracker import PresenceTracker
from netserver.cluster.rules import GroupRules
from netserver.cluster.subjects import Subjects

if TYPE_CHECKING:
    from netserver.connection import Connection
    from netserver.groups import Groups, Membership


class Memberships:
    """Follows `Groups`, which any thread changes. Owned by the cluster's thread.

    Told that something has changed, it looks how things are now; so it ends up right, in whatever
    order it is told what other threads did.

    Args:
        groups: How things are.
        server: This server's id.
        interest, subjects: What is subscribed to for a group with members.
        presence: Keeps presence.
        channels: Keep history.
    """

    def __init__(
        self,
        groups: Groups,
        server: bytes,
        interest: Interest,
        subjects: Subjects,
        presence: PresenceTracker,
        channels: Channels,
    ) -> None:
        self._groups = groups
        self._server = server.hex()
        self._interest = interest
        self._subjects = subjects
        self._presence = presence
        self._channels = channels
        self._known: dict[tuple[Connection, str], Membership] = {}
        # Any thread adds, without a lock: two who add the same at once only have it looked twice.
        self._expected: set[tuple[Connection, str]] = set()

    def expect(self, connection: Connection, group: str) -> bool:
        """Something has changed; whether `look` has to be called, and is not to be already.

        Any thread. So whoever joins and leaves faster than the cluster's thread comes round does
        not fill its queue.
        """
        if (connection, group) in self._expected:
            return False
        self._expected.add((connection, group))
        return True

    def look(self, connection: Connection, group: str) -> None:
        """Something may have changed between a connection and a group."""
        self._expected.discard((connection, group))  # first: what changes from now on is told anew
        now = self._groups.membership(connection, group)
        before = self._known.get((connection, group))
        rules = self._groups.rules.of(group)
        if now is None:
            if before is not None:
                self._forget(connection, group, rules)
            return
        if rules.presence:  # the identity may be another, though the membership is the same
            identity = connection.identity
            known_as = identity if isinstance(identity, str) else None
            self._presence.join(group, Member(known_as, now.data, self._server, connection.id))
        if now is before:
            return
        self._known[connection, group] = now
        if before is None:
            self._interest.want(self._subjects.group(group))
        if rules.history is not None:
            self._channels.join(group, connection, now.since)

    def _forget(self, connection: Connection, group: str, rules: GroupRules) -> None:
        del self._known[connection, group]
        self._interest.unwant(self._subjects.group(group))
        if rules.presence:
            self._presence.leave(group, connection.id)
        if rules.history is not None:
            self._channels.leave(group, connection)
