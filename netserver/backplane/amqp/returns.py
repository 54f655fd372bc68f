"""Which messages may still come back because nobody hears them."""

from __future__ import annotations

from collections.abc import Callable


class Returns:
    """The callbacks of messages that are on their way; bounded. Not thread-safe.

    A broker returns what nobody hears, and says nothing of the rest. But it deals with a channel in
    order: whatever has not come back before the answer to a later question has been heard.
    """

    # Callbacks at most, a few MiB of memory; and after how many the broker is asked.
    MOST = 4096
    ASK_AFTER = 512

    def __init__(self) -> None:
        self._waiting: dict[int, Callable[[], None]] = {}  # by number, and so by age
        self._number = 0
        self._asked = 0  # the number up to which it was asked; none is asked twice

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the next has to wait for an answer."""
        return len(self._waiting) >= self.MOST

    @property
    def unasked(self) -> int:
        """How many were noted since the broker was asked."""
        return self._number - self._asked

    def add(self, unheard: Callable[[], None]) -> str:
        """Note a message that is being sent.

        Returns:
            The message id to send it with.
        """
        self._number += 1
        self._waiting[self._number] = unheard
        return str(self._number)

    def come_back(self, message_id: str | None) -> None:
        """Call what waits for a message that was returned; nothing happens for another's."""
        if message_id is None or not message_id.isdecimal() or len(message_id) > 20:
            return
        if (unheard := self._waiting.pop(int(message_id), None)) is not None:
            unheard()

    def ask(self) -> int:
        """The broker is being asked: up to which number its answer settles."""
        self._asked = self._number
        return self._asked

    def settle(self, number: int) -> None:
        """The answer is there: those that have not come back up to it were heard."""
        while self._waiting and (oldest := next(iter(self._waiting))) <= number:
            del self._waiting[oldest]
