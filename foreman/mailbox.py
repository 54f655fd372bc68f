"""Calls handed to a worker from other threads, kept in order across its moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeAlias

Call: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]

# Mailboxes are made when first used: most workers never get one.
_creation = Lock()


class Mailbox:
    """One worker's calls from other threads, oldest first. Its lock guards everything.

    It belongs to the worker and not to a node, so what waits in it while the worker moves is not
    lost and keeps its order. One wake-up serves all that has gathered.
    """

    __slots__ = ("_calls", "_lock", "_size", "_woken")

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._lock = Lock()
        self._size = 0
        self._woken = False

    def put(self, call: Call, size: int = 0, limit: int | None = None) -> bool | None:
        """Add a call.

        Args:
            size: The bytes it holds on to.
            limit: How many bytes may wait here; None for no limit.

        Returns:
            True when the owner must be woken, False when it already is, None when the limit
            would be passed and nothing was added.
        """
        with self._lock:
            if limit is not None and self._size + size > limit:
                return None
            self._calls.append(call)
            self._size += size
            woken, self._woken = self._woken, True
            return not woken

    def take(self) -> deque[Call]:
        """All that has gathered; the next `put` wakes the owner again."""
        with self._lock:
            calls, self._calls = self._calls, deque()
            self._size = 0
            self._woken = False
            return calls


def mailbox_of(worker: Any) -> Mailbox:
    """The worker's mailbox, made now if it has none."""
    mailbox: Mailbox | None = worker._mailbox
    if mailbox is None:
        with _creation:
            mailbox = worker._mailbox
            if mailbox is None:
                mailbox = worker._mailbox = Mailbox()
    return mailbox
