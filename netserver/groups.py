"""Who listens to what: named groups of connections."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netserver.connection import Connection


class Groups:
    """The groups of one server. Thread-safe: one lock guards all of it.

    A group exists while it has members.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._members: dict[str, dict[Connection, None]] = {}
        self._joined: dict[Connection, set[str]] = {}

    def join(self, connection: Connection, group: str) -> bool:
        """Add a connection; False when it was there already."""
        if not isinstance(group, str) or not group:
            raise ValueError(f"a group's name is a str that is not empty, not {group!r}")
        with self._lock:
            members = self._members.setdefault(group, {})
            if connection in members:
                return False
            members[connection] = None
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

    def leave_all(self, connection: Connection) -> None:
        """Take a connection out of every group it is in."""
        with self._lock:
            for group in self._joined.pop(connection, ()):
                self._drop(connection, group)

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
