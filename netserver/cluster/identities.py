"""Who is connected here under which identity."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netserver.connection import Connection


class Identities:
    """The identities of one server's connections. Thread-safe: one lock guards all of it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._connections: dict[str, dict[Connection, int]] = {}  # since when

    def __len__(self) -> int:
        return len(self._connections)

    def add(
        self, identity: str, connection: Connection, alone: bool = False
    ) -> list[Connection] | None:
        """One more connection of an identity.

        Args:
            alone: Only if there is no other.

        Returns:
            Those that came before it; None where it was not added.
        """
        with self._lock:
            connections = self._connections.setdefault(identity, {})
            before = [each for each in connections if each is not connection]
            if alone and before:
                return None
            connections[connection] = time.time_ns()
            return before

    def remove(self, identity: str, connection: Connection) -> bool:
        """One less; False when it was none."""
        with self._lock:
            connections = self._connections.get(identity)
            if connections is None or connection not in connections:
                return False
            del connections[connection]
            if not connections:
                del self._connections[identity]
            return True

    def of(self, identity: str) -> list[Connection]:
        """The connections of an identity, the newest last; empty for one that is not here."""
        connections = self._connections.get(identity)
        if connections is None:  # looked at without the lock: most are elsewhere
            return []
        with self._lock:
            return list(connections)

    def since(self, identity: str, connection: Connection) -> int | None:
        """When a connection got an identity, nanoseconds since the epoch; None if it has it not.

        Of two of one identity, the one that came later here has the later time, unless the clock
        was set back between them.
        """
        with self._lock:
            return self._connections.get(identity, {}).get(connection)

    def all(self) -> list[tuple[str, Connection]]:
        """All of them."""
        with self._lock:
            return [
                (identity, connection)
                for identity, connections in self._connections.items()
                for connection in connections
            ]
