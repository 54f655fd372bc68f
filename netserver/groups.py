"""Who listens to what: named groups of connections."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any

from attrs import define

from netserver.cluster.frames import check_name
from netserver.cluster.history import Position
from netserver.cluster.rules import GroupRules, RuleBook

if TYPE_CHECKING:
    from netserver.connection import Connection


@define(eq=False)
class Membership:
    """One connection in one group; another object each time it joins.

    Attributes:
        data: What others are told of it, where the group has presence.
        since: Where it had read to, where the group has a history; None for nowhere.
    """

    data: Any = None
    since: Position | None = None


_PLAIN = Membership()


class Groups:
    """The groups of one server. Thread-safe: one lock guards all of it.

    A group exists while it has members.

    Attributes:
        rules: What is kept of which group; see `set_rules`.
        watched: Those that are known on this server without a member; see `watch`.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._members: dict[str, dict[Connection, Membership]] = {}
        self._joined: dict[Connection, set[str]] = {}
        self._sealed = False
        self.rules = RuleBook()
        self.watched: set[str] = set()

    def set_rules(self, pattern: str, rules: GroupRules) -> None:
        """Keep presence or history of some groups; to be called before the server is started.

        Args:
            pattern: Of their names, as in `fnmatch`: ``room/*``. The first that fits counts.
            rules: What is kept.

        Raises:
            ValueError: The pattern is none, or has rules already.
            RuntimeError: The server was started.
        """
        self.rules.add(pattern, rules)

    def watch(self, group: str) -> None:
        """Know who is in a group on all servers, whether a member of it is here or not.

        To be called before the server is started. `Server.presence` tells it then from a moment
        after the start, and `Server.on_presence` every change, where the group's rules ask for
        presence.

        Raises:
            ValueError: The rules that were set do not, or the name is none.
            RuntimeError: The server was started.
        """
        check_name(group)
        with self._lock:
            if self._sealed:
                raise RuntimeError("groups are watched from the start of the server")
            if not self.rules.of(group).presence:
                raise ValueError(f"the rules of {group!r} do not ask for presence")
            self.watched.add(group)

    def seal(self) -> None:
        """The server is started: rules, and what is watched, stay as they are."""
        with self._lock:
            self._sealed = True
        self.rules.seal()

    def join(self, connection: Connection, group: str, membership: Membership = _PLAIN) -> bool:
        """Add a connection; False when it was there already, and its membership is another now."""
        if not isinstance(group, str) or not group:
            raise ValueError(f"a group's name is a str that is not empty, not {group!r}")
        check_name(group)
        with self._lock:
            members = self._members.setdefault(group, {})
            if connection in members:
                members[connection] = membership
                return False
            members[connection] = membership
            self._joined.setdefault(connection, set()).add(group)
            return True

    def leave(self, connection: Connection, group: str) -> bool:
        """Take a connection out; False when it was not there."""
        with self._lock:
            joined = self._joined.get(connection)
            if joined is None or group not in joined:
                return False
            joined.discard(group)
            if not joined:
                del self._joined[connection]
            self._drop(connection, group)
            return True

    def leave_all(self, connection: Connection) -> set[str]:
        """Take a connection out of every group it is in, and tell which they were."""
        with self._lock:
            groups = self._joined.pop(connection, set())
            for group in groups:
                self._drop(connection, group)
            return groups

    def membership(self, connection: Connection, group: str) -> Membership | None:
        """What a connection joined a group with; None when it is not in it."""
        with self._lock:
            return self._members.get(group, {}).get(connection)

    def members(self, group: str) -> list[Connection]:
        """Who is in a group now, in the order of joining; empty for one that does not exist."""
        with self._lock:
            return list(self._members.get(group, ()))

    def of(self, connection: Connection) -> frozenset[str]:
        """The groups a connection is in."""
        with self._lock:
            return frozenset(self._joined.get(connection, ()))

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._members))

    def __len__(self) -> int:
        with self._lock:
            return len(self._members)

    def __contains__(self, group: object) -> bool:
        with self._lock:
            return group in self._members

    def _drop(self, connection: Connection, group: str) -> None:
        members = self._members[group]
        del members[connection]
        if not members:
            del self._members[group]
