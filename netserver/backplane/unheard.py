"""Which messages may still turn out to be heard by nobody."""

from __future__ import annotations

from collections.abc import Callable


class Unheard:
    """The callbacks of messages that are on their way. Not thread-safe.

    A broker tells of what nobody hears, and says nothing of the rest. But it deals with a link in
    order: whatever it has not told of before the answer to a later question has been heard.

    Args:
        most: Callbacks that are kept before it is `full`.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[int, Callable[[], None]] = {}  # by number
        self._number = 0
        self._settled = 0  # the number up to which nothing waits
        self._asked = 0  # the number up to which the broker was asked; none is asked twice

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the next has to wait for an answer."""
        return len(self._waiting) >= self._most

    @property
    def unasked(self) -> int:
        """How many were noted since the broker was asked."""
        return self._number - self._asked

    def add(self, unheard: Callable[[], None]) -> str:
        """Note a message that is being sent.

        Returns:
            The token by which the broker tells of it.
        """
        self._number += 1
        self._waiting[self._number] = unheard
        return str(self._number)

    def tell(self, token: bytes) -> None:
        """Call what waits for a message that nobody heard; nothing happens for another's token."""
        if not token.isdigit() or len(token) > 20:
            return
        if (unheard := self._waiting.pop(int(token), None)) is not None:
            unheard()

    def ask(self) -> int:
        """The broker is being asked: up to which number its answer settles."""
        self._asked = self._number
        return self._asked

    def settle(self, number: int) -> None:
        """The answer is there: those up to the number that were not told of were heard."""
        # Counted, for a dict that loses its first keys takes ever longer to find its first one.
        for each in range(self._settled + 1, number + 1):
            self._waiting.pop(each, None)
        self._settled = max(self._settled, number)
