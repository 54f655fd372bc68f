"""Appends to the journal: what is said in one group one after the other, until it is stored."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque

from attrs import frozen

from netserver.backplane import BackplaneError, Journal, LinkDown
from netserver.cluster.delivery import Delivery, Outcome
from netserver.cluster.history import Position
from netserver.cluster.sender import Budget
from netwire import Backoff

logger = logging.getLogger(__name__)

AGAIN = Backoff(first=0.1, cap=1.0)


@frozen
class Unstored:
    """One message that is to be stored.

    Args:
        payload: What is stored.
        key: What makes it unique.
        delivery: What wants to know.
        charged: What it took of the budget, bytes.
    """

    payload: bytes
    key: str
    delivery: Delivery
    charged: int


class JournalWriter:
    """Stores what is said, in order for each group. Owned by the cluster's thread.

    The next message of a group is sent when the one before is known to be stored: were several on
    their way, an earlier one could be lost and a later one not. Groups do not wait for each other.
    While the link is down everything waits, within the budget.

    Args:
        journal: Where to.
        budget: What it was taken from.
    """

    def __init__(self, journal: Journal, budget: Budget) -> None:
        self._journal = journal
        self._budget = budget
        self._queues: dict[str, deque[Unstored]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def append(self, subject: str, unstored: Unstored) -> None:
        """Store a message."""
        queue = self._queues.setdefault(subject, deque())
        queue.append(unstored)
        if subject not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._write(subject, queue))
            self._tasks[subject] = task

    async def flush(self) -> None:
        """Wait until everything is stored."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    def close(self) -> None:
        """Store nothing more."""
        for task in self._tasks.values():
            task.cancel()

    async def _write(self, subject: str, queue: deque[Unstored]) -> None:
        try:
            while queue:
                unstored = queue[0]
                await self._store(subject, unstored)
                queue.popleft()
                self._budget.give_back(unstored.charged)
        finally:
            self._tasks.pop(subject, None)
            self._queues.pop(subject, None)
            for unstored in queue:
                self._budget.give_back(unstored.charged)
                unstored.delivery.settle(Outcome.UNKNOWN)

    async def _store(self, subject: str, unstored: Unstored) -> None:
        failures = 0
        while True:
            try:
                offset = await self._journal.append(subject, unstored.payload, unstored.key)
            except (LinkDown, TimeoutError) as error:
                failures += 1
                logger.debug("not stored yet: %s", error)
                await asyncio.sleep(AGAIN.delay(failures, random.random))
                continue
            except BackplaneError as error:
                logger.error("a message for %s is not stored: %s", subject, error)
                unstored.delivery.settle(Outcome.REFUSED)
                return
            unstored.delivery.position = Position(self._journal.epoch, offset)
            unstored.delivery.settle(Outcome.QUEUED)
            return
