"""Who is there, and how often what has happened: the connections of one server, counted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netserver.connection import Connection


class Census:
    """The connections of one server from accepting to the end. Thread-safe: one lock guards it.

    Attributes:
        capacity: How many there may be before `is_full`.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = threading.Lock()
        self._gone = threading.Condition(self._lock)
        self._connections: dict[Connection, None] = {}
        self._events: dict[str, int] = {}
        self._dropped = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return len(self._connections) >= self.capacity

    @property
    def connections(self) -> list[Connection]:
        """All of them, in the order in which they came; some may not be open yet, or any more."""
        with self._lock:
            return list(self._connections)

    @property
    def events(self) -> dict[str, int]:
        """How many events of each kind there have been."""
        with self._lock:
            return dict(self._events)

    @property
    def dropped(self) -> int:
        """How many messages slow readers have not been sent."""
        return self._dropped

    def lose(self) -> None:
        """One more message that a slow reader is not sent."""
        with self._lock:
            self._dropped += 1

    def add(self, connection: Connection) -> bool:
        """One more; False after `close`."""
        with self._lock:
            if not self._closed:
                self._connections[connection] = None
            return not self._closed

    def remove(self, connection: Connection) -> None:
        """One less; nothing when it was none."""
        with self._lock:
            self._connections.pop(connection, None)
            if not self._connections:
                self._gone.notify_all()

    def close(self) -> None:
        """Let nobody in any more."""
        with self._lock:
            self._closed = True

    def wait_until_empty(self, timeout: float) -> bool:
        """Wait until all have gone, at most ``timeout`` seconds; whether they have."""
        with self._gone:
            return self._gone.wait_for(lambda: not self._connections, timeout)

    def count(self, kind: str) -> None:
        """One more event of this kind."""
        with self._lock:
            self._events[kind] = self._events.get(kind, 0) + 1
