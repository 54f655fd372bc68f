"""Accepted connections on their way to their nodes: so many at a time, and the others wait."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netserver.connection import Connection


class Arrivals:
    """Who was accepted and has not begun on its node yet.

    Whoever accepts all that the system's backlog holds hands its nodes hundreds of newcomers at a
    time, each a millisecond of work, and the others there wait for all of them. It would also have
    them placed before it is known what the first of them cost. In the backlog they harm nobody.

    Only what is up to us counts: a peer that does not go on after it was accepted holds up nobody.

    Thread-safe: one lock guards it.

    Args:
        most: How many there may be; the next ones are asked for when half of them have begun.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._awaited = False

    def __len__(self) -> int:
        return len(self._connections)

    def must_wait(self) -> bool:
        """Whether there are as many as there may be; if so, `remove` tells when to go on."""
        with self._lock:
            self._awaited = len(self._connections) >= self._most
            return self._awaited

    def add(self, connection: Connection) -> None:
        """One was accepted."""
        with self._lock:
            self._connections.add(connection)

    def remove(self, connection: Connection) -> bool:
        """It has begun, or ended before; nothing happens when it had before.

        Returns:
            Whether to accept further ones: once, after there were many.
        """
        with self._lock:
            self._connections.discard(connection)
            if not self._awaited or len(self._connections) > self._most // 2:
                return False
            self._awaited = False
            return True

    def forget(self) -> None:
        """Wait for none of these: their nodes are held up."""
        with self._lock:
            self._connections.clear()
            self._awaited = False
