"""What this server wants to hear: subscribed to when first wanted, and some time longer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice, takewhile
from time import monotonic

from netserver.backplane import BackplaneError

logger = logging.getLogger(__name__)

# A subject that nobody wants any more is kept so long, seconds: a client that reconnects finds it.
LINGER = 2.0

# How many are subscribed to at once.
BATCH = 5000

Change = Callable[[Iterable[str]], Awaitable[None]]


class Interest:
    """Counts who wants a subject, and subscribes for all of them. Owned by the cluster's thread.

    Args:
        subscribe, unsubscribe: What to do about many subjects.
    """

    def __init__(self, subscribe: Change, unsubscribe: Change) -> None:
        self._subscribe, self._unsubscribe = subscribe, unsubscribe
        self._wanted: dict[str, int] = {}
        self._had: set[str] = set()
        self._to_add: dict[str, None] = {}
        self._to_drop: dict[str, float] = {}  # when; the next first
        self._waiting: dict[str, list[Callable[[], object]]] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._had)

    def want(self, subject: str) -> None:
        """One more wants it."""
        if self._count(subject, 1) == 1:
            self._to_drop.pop(subject, None)
            if subject not in self._had:
                self._to_add[subject] = None
            self._wake.set()

    def unwant(self, subject: str) -> None:
        """One less does."""
        if self._count(subject, -1) == 0:
            self._to_add.pop(subject, None)
            self._let_go(subject)
            if subject in self._had:
                self._to_drop[subject] = monotonic() + LINGER
            self._wake.set()

    def _count(self, subject: str, more: int) -> int:
        count = self._wanted.get(subject, 0) + more
        if count:
            self._wanted[subject] = count
        else:
            self._wanted.pop(subject, None)
        return count

    def when_ready(self, subject: str, function: Callable[[], object]) -> None:
        """Call a function when it is subscribed to, or not wanted any more; now, if it is."""
        if subject in self._to_add or (subject in self._wanted and subject not in self._had):
            self._waiting.setdefault(subject, []).append(function)
        else:
            function()

    async def ready(self, subject: str) -> None:
        """Wait until it is subscribed to; or not wanted any more."""
        ready = asyncio.Event()
        self.when_ready(subject, ready.set)
        await ready.wait()

    async def run(self) -> None:
        """Subscribe and unsubscribe until cancelled."""
        while True:
            if self._to_add:
                await self._add()
            elif self._to_drop:
                await self._drop()
            else:
                await self._wake.wait()
            self._wake.clear()

    async def _add(self) -> None:
        subjects = list(self._to_add)[:BATCH]
        for subject in subjects:
            del self._to_add[subject]
        try:
            await self._subscribe(subjects)
        except BackplaneError as error:
            logger.error("cannot subscribe to %d subjects: %s", len(subjects), error)
        for subject in subjects:
            self._had.add(subject)
            self._let_go(subject)
            if subject not in self._wanted:
                self._to_drop[subject] = monotonic() + LINGER

    async def _drop(self) -> None:
        now = monotonic()
        first = next(iter(self._to_drop.values()))  # they were put there in the order of time
        if first > now:
            try:
                await asyncio.wait_for(self._wake.wait(), first - now)
            except TimeoutError:
                pass
            return
        due = takewhile(lambda item: item[1] <= now, self._to_drop.items())
        subjects = [subject for subject, _ in islice(due, BATCH)]
        for subject in subjects:
            del self._to_drop[subject]
            self._had.discard(subject)
        try:
            await self._unsubscribe(subjects)
        except BackplaneError as error:
            logger.error("cannot unsubscribe from %d subjects: %s", len(subjects), error)

    def _let_go(self, subject: str) -> None:
        for function in self._waiting.pop(subject, ()):
            function()
