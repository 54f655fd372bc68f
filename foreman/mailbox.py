"""Calls handed to a worker from other threads, kept in order across its moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from foreman.node import Node
    from foreman.worker import Worker

AnyWorker = TypeVar("AnyWorker", bound="Worker")

# A function and its arguments; one that many workers share is called with the worker, and says so
# with None.
Call: TypeAlias = tuple[Callable[..., object], tuple[Any, ...] | None]

# Mailboxes are made when first used: most workers never get one.
_creation = Lock()


class Mailbox:
    """One worker's calls from other threads, oldest first. Its lock guards everything.

    It belongs to the worker and not to a node, so what waits in it while the worker moves is not
    lost and keeps its order. One wake-up serves all that has gathered.
    """

    __slots__ = ("_calls", "_lock", "_size", "_woken")

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._lock = Lock()
        self._size = 0
        self._woken = False

    @property
    def waits(self) -> bool:
        """Whether anything has gathered."""
        return bool(self._calls)

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

    def take(self) -> list[Call]:
        """All that has gathered; the next `put` wakes the owner again."""
        with self._lock:
            calls, self._calls = self._calls, []
            self._size = 0
            self._woken = False
            return calls

    def take_if(self, fits: Callable[[Call], bool]) -> list[Call]:
        """All that has gathered if every call of it fits, otherwise nothing.

        The owner, which was woken for it, still comes, and may find nothing.
        """
        with self._lock:
            calls = self._calls
            if not all(map(fits, calls)):
                return []
            self._calls = []
            self._size = 0
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


def post_to_all(
    workers: Iterable[AnyWorker],
    function: Callable[[Any], object],
    size: int = 0,
    limit: int | None = None,
) -> list[AnyWorker]:
    """Hand the same call over to many workers: ``function(worker)``, on the node of each.

    For each of them it is as if it had been handed over alone: in the order of the calls of each
    thread, and following a worker that moves. But it is one object for all, each node is woken
    once, and serves them in turns (`foreman.delivery`). May be called from any thread.

    Args:
        size: The bytes that each of the calls holds on to.
        limit: How many bytes may wait for a worker; None for no limit.

    Returns:
        Those for whom the limit would be passed: they are not handed the call.
    """
    call: Call = (function, None)
    refused: list[AnyWorker] = []
    woken: dict[Node, list[Worker]] = {}
    for worker in workers:
        mailbox = worker._mailbox or mailbox_of(worker)
        # `Mailbox.put` and `Worker._post`, written out.
        with mailbox._lock:
            waiting = mailbox._size + size
            if limit is not None and waiting > limit:
                refused.append(worker)
                continue
            mailbox._calls.append(call)
            mailbox._size = waiting
            if mailbox._woken:
                continue
            mailbox._woken = True
        home = worker._home
        if home is None:
            continue  # it moves, and looks into its mailbox when it arrives
        if home in woken:
            woken[home].append(worker)
        else:
            woken[home] = [worker]
    for node, found in woken.items():
        node.delivery.wake_all(found)
    return refused
