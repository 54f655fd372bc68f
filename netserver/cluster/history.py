"""What was said in a group, for those who come back: bounded, numbered, and pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import field, frozen

from netserver.backlog import OVERHEAD
from netwire import Message
from netwire.checks import seconds, whole


@frozen
class Position:
    """How far somebody has read in a group.

    Args:
        epoch: Names the history: one that was lost and began anew has another.
        offset: Of the last message that was read; 0 for none.
    """

    epoch: str
    offset: int


def check_position(since: object) -> None:
    """Refuse what is no position, such as what a client made up.

    Raises:
        TypeError: It is none, or its epoch is no str or its offset no whole number.
    """
    if (
        not isinstance(since, Position)
        or not isinstance(since.epoch, str)
        or not isinstance(since.offset, int)
    ):
        raise TypeError(f"since is a Position of a str and an int, not {since!r}")


@frozen
class Entry:
    """One message of a group's history.

    Args:
        position: Where it is; a later message has a higher offset, not always the next number.
        message: The message.
        id: What makes it unique: given by who sent it, or by its server.
        at: When it was stored, seconds since the epoch of Unix, by the clock of whoever stored it.
    """

    position: Position
    message: Message
    id: str
    at: float


@frozen(kw_only=True)
class History:
    """How much of a group is kept: the least of the three counts.

    Args:
        count: The most messages.
        size: The most bytes of messages; each counts 256 more than its own.
        age: The longest, seconds.
    """

    count: int = field(default=100, validator=whole)
    size: int = field(default=1024 * 1024, validator=whole)
    age: float = field(default=3600.0, validator=seconds)


@frozen
class Recovery:
    """What somebody who came to a group is told of what was said before.

    Args:
        group: The group.
        recovered: Whether ``entries`` is all that was said since the position they came with; False
            where they came without one, or it lies too far back.
        position: Where they are now.
        entries: What they missed; where it is not recovered, what is kept.
        messages: What members are sent of each, as `GroupRules.stamp` makes it.
    """

    group: str
    recovered: bool
    position: Position
    entries: tuple[Entry, ...]
    messages: tuple[Message, ...]


class Log:
    """The entries of one group, oldest first. Not thread-safe: its owner calls it.

    Args:
        rules: How much is kept.
        now: The time, seconds since the epoch of Unix.
    """

    def __init__(self, rules: History, now: Callable[[], float]) -> None:
        self._rules = rules
        self._now = now
        self._entries: deque[Entry] = deque()
        self._ids: set[str] = set()
        self._size = 0
        self.epoch = ""
        self.last = 0  # the offset of the newest there ever was
        self._floor = 0  # nothing is missing behind this offset

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """What it holds, bytes."""
        return self._size

    @property
    def position(self) -> Position:
        """Where somebody is who has read everything."""
        return Position(self.epoch, self.last)

    def reset(self, epoch: str, floor: int = 0) -> None:
        """Begin anew.

        Args:
            epoch: Of the new one.
            floor: The offset behind which it will be complete.
        """
        self._entries.clear()
        self._ids.clear()
        self._size = 0
        self.epoch = epoch
        self.last = self._floor = floor

    def has(self, id: str) -> bool:
        """Whether an entry of that id is kept."""
        return id in self._ids

    def append(self, entry: Entry) -> None:
        """One more; its offset is higher than all before."""
        assert entry.position.offset > self.last
        self.last = entry.position.offset
        self._entries.append(entry)
        self._ids.add(entry.id)
        self._size += _cost(entry)
        self.trim()

    def skip(self, offset: int) -> None:
        """What is up to an offset is none of ours, or was there before."""
        self.last = max(self.last, offset)

    def trim(self) -> None:
        """Drop what is too much or too old."""
        rules = self._rules
        oldest = self._now() - rules.age
        entries = self._entries
        while entries and (
            len(entries) > rules.count or self._size > rules.size or entries[0].at < oldest
        ):
            gone = entries.popleft()
            self._ids.discard(gone.id)
            self._size -= _cost(gone)
            self._floor = gone.position.offset

    def since(self, position: Position | None) -> tuple[bool, tuple[Entry, ...]]:
        """What was said behind a position, and whether that is all of it.

        Args:
            position: None for whoever has none: they get what is kept.
        """
        self.trim()
        if (
            position is None
            or position.epoch != self.epoch
            or not self._floor <= position.offset <= self.last
        ):
            return False, tuple(self._entries)
        return True, tuple(e for e in self._entries if e.position.offset > position.offset)


def _cost(entry: Entry) -> int:
    message = entry.message
    size = len(message.encode()) if isinstance(message, str) else len(message)
    return size + OVERHEAD
