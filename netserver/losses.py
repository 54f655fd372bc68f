"""What a slow reader was not sent: counted, and told to the application in one go."""

from __future__ import annotations

from threading import Lock

from netserver.events import Gap

# Losses are made when something is lost for the first time: most connections never lose anything.
creation = Lock()


class Losses:
    """What one connection was not sent by its policy. Any thread: its lock guards everything."""

    __slots__ = ("_lock", "_told", "messages", "size", "superseded")

    def __init__(self) -> None:
        self._lock = Lock()
        self._told = (0, 0, 0)
        self.messages = 0
        self.size = 0
        self.superseded = 0

    def add(self, size: int, superseded: bool) -> bool:
        """Count a message of so many bytes; True when those before it have all been told."""
        with self._lock:
            first = self.messages == self._told[0]
            self.messages += 1
            self.size += size
            self.superseded += superseded
            return first

    def untold(self) -> Gap | None:
        """What has been lost since the last time; None when nothing was."""
        with self._lock:
            messages, size, superseded = self._told
            if self.messages == messages:
                return None
            self._told = (self.messages, self.size, self.superseded)
            return Gap(self.messages - messages, self.size - size, self.superseded - superseded)
