"""What goes to other servers: gathered by subject, bounded, and published as frames."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from threading import Lock
from time import monotonic
from typing import TypeAlias

from netserver.backplane import Backplane, LinkDown, LinkState, PayloadTooLarge
from netserver.cluster.config import ClusterConfig
from netserver.cluster.frames import OVERHEAD, encode_head
from netserver.cluster.subjects import Subjects

logger = logging.getLogger(__name__)

# A frame is no longer than that where it holds several records, bytes: so that what many send is
# joined, and nobody waits long behind others.
FRAME = 64 * 1024

# What each record that waits costs beside its bytes, roughly.
RECORD_COST = 256

# How often what waits for the link is looked through for what is too old, seconds.
SWEEP = 0.25

Unheard: TypeAlias = Callable[[int], object]
Told: TypeAlias = Unheard | None


class Budget:
    """So many bytes may wait. Thread-safe.

    Args:
        limit: How many.
        lock: Guards it; one of its own by default.

    Attributes:
        limit: How many may.
        used: How many do.
        refused: How many messages found no room.
    """

    def __init__(self, limit: int, lock: Lock | None = None) -> None:
        self.limit = limit
        self._lock = Lock() if lock is None else lock
        self.used = 0
        self.refused = 0

    def take(self, size: int) -> bool:
        """Room for one more message, if there is any."""
        with self._lock:
            used = self.used + size + RECORD_COST
            if used > self.limit:
                self.refused += 1
                return False
            self.used = used
            return True

    def give_back(self, size: int, messages: int = 1) -> None:
        """So many bytes in so many messages wait no longer."""
        with self._lock:
            self.used -= size + messages * RECORD_COST


class _Waiting:
    """What waits for one subject.

    Attributes:
        head: How its frames begin.
        owed: Whether it is for one server, which has asked for it.
        records: What waits.
        length: The bytes of these.
    """

    __slots__ = ("head", "length", "owed", "records")

    def __init__(self, head: bytes, owed: bool) -> None:
        self.head = head
        self.owed = owed
        self.length = 0
        # The record, the bytes it took of the budget, whom to tell that nobody heard it, and with
        # which number, and when it came.
        self.records: deque[tuple[bytes, int | None, Told, int, float]] = deque()

    def take(self, most: int) -> tuple[bytes, int, int, Callable[[], None] | None]:
        """One frame: its bytes, what it took of the budget in how many messages, how to tell."""
        waiting = self.records
        if self.length <= most:  # nearly always
            taken = list(waiting)
            waiting.clear()
            self.length = 0
        else:
            taken = []
            length = 0
            while waiting and (not taken or length + len(waiting[0][0]) <= most):
                taken.append(waiting.popleft())
                length += len(taken[-1][0])
            self.length -= length
        # By columns, for every message passes by.
        records, charges, told, numbers, _ = zip(*taken, strict=True)
        uncharged, untold = charges.count(None), told.count(None)
        tell = partial(_tell, told, numbers) if untold < len(taken) else None
        payload = b"".join([self.head, *records])
        return payload, sum(filter(None, charges)), len(taken) - uncharged, tell

    def drop_first(self) -> tuple[bytes, int | None]:
        """Forget the oldest: its bytes, and what it took of the budget."""
        record, charged, _, _, _ = self.records.popleft()
        self.length -= len(record)
        return record, charged


class Sender:
    """Publishes records, those for one subject in order. Owned by the cluster's thread.

    Records for one subject that come while others are on their way go out together. While the link
    is down they wait, up to the budget and ``publish_age``, and are dropped then.

    Args:
        backplane: Where to.
        config: Limits.
        server: The server's id.
        budget: Of what other threads send.
        subjects: Where to reach servers.

    Attributes:
        frames: How many were published.
        dropped: How many messages were not, for they were too old or the link was lost; beats and
            what else servers tell of themselves are made up for, and do not count.
    """

    def __init__(
        self,
        backplane: Backplane,
        config: ClusterConfig,
        server: bytes,
        budget: Budget,
        subjects: Subjects,
    ) -> None:
        self._backplane = backplane
        self._config = config
        self._server = server
        self._budget = budget
        self._subjects = subjects
        self._waiting: dict[str, _Waiting] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._owed = 0  # what waits of answers, bytes
        self.frames = 0
        self.dropped = 0

    @property
    def link_up(self) -> bool:
        """Whether what is added goes out at once."""
        return self._backplane.state is LinkState.UP

    @property
    def longest(self) -> int:
        """How long a message, or an answer, may be, bytes."""
        return self._backplane.max_payload - OVERHEAD

    def add(
        self,
        subject: str,
        name: str,
        record: bytes,
        charged: int | None = None,
        unheard: Unheard | None = None,
        number: int = 0,
        *,
        owed: bool = False,
    ) -> None:
        """Publish a record.

        Args:
            subject, name: Where to, and what that stands for.
            record: Its bytes.
            charged: What was taken of the budget for it; None where nothing was.
            unheard: Called with ``number`` if nobody subscribes to the subject, where the engine
                finds out.
            owed: Whether what goes to the subject are answers: see `answer`.
        """
        waiting = self._waiting_for(subject, name, owed)
        waiting.records.append((record, charged, unheard, number, monotonic()))
        waiting.length += len(record)
        if waiting.owed:
            self._owed += len(record) + RECORD_COST

    def add_all(
        self,
        subject: str,
        name: str,
        records: Sequence[bytes],
        charges: Sequence[int],
        unheard: Unheard,
        numbers: Sequence[int],
    ) -> None:
        """Publish records that are no answers; as `add`, with a charge and a number for each."""
        waiting = self._waiting_for(subject, name, False)
        now = monotonic()
        waiting.records.extend(
            zip(records, charges, repeat(unheard), numbers, repeat(now), strict=False)
        )
        waiting.length += sum(map(len, records))

    def _waiting_for(self, subject: str, name: str, owed: bool) -> _Waiting:
        waiting = self._waiting.get(subject)
        if waiting is None:
            waiting = self._waiting[subject] = _Waiting(encode_head(self._server, name), owed)
            self._wake.set()
            self._idle.clear()
        return waiting

    def discard(self, charged: int) -> None:
        """A message will not be added, for which so much was taken of the budget."""
        self.dropped += 1
        self._budget.give_back(charged)

    def answer(self, server: bytes, records: Iterable[bytes]) -> None:
        """Publish what another server has asked for.

        It may ask more quickly than its broker takes the answers, and for much with few words. So
        where answers of ``publish_limit`` bytes wait already, there is none: it asks again, or
        goes on without, as when the answer was lost.
        """
        if self._owed > self._config.publish_limit:
            self.dropped += 1
            return
        for record in records:
            self.add(self._subjects.server(server), server.hex(), record, owed=True)

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            while self._waiting:
                if self.link_up:
                    await self._publish_next()
                else:
                    self._drop_old()
                    await asyncio.sleep(SWEEP)
            self._wake.clear()
            self._idle.set()
            await self._wake.wait()

    async def flush(self) -> None:
        """Wait until nothing waits; for ever, while the link is down."""
        await self._idle.wait()

    def close(self) -> None:
        """Publish nothing more: what still waits is dropped."""
        for waiting in self._waiting.values():
            _, cost, count, _ = waiting.take(sys.maxsize)
            self._budget.give_back(cost, count)
            self.dropped += count
        self._waiting.clear()
        self._owed = 0

    async def _publish_next(self) -> None:
        subject = next(iter(self._waiting))
        waiting = self._waiting.pop(subject)
        most = min(FRAME, self._backplane.max_payload - len(waiting.head))
        before = len(waiting.records)
        payload, cost, count, tell = waiting.take(most)
        if waiting.owed:
            self._owed -= len(payload) - len(waiting.head)
            self._owed -= RECORD_COST * (before - len(waiting.records))
        if waiting.records:
            self._waiting[subject] = waiting  # at the end: the others' turn comes first
        try:
            await self._backplane.publish(subject, payload, tell)
            self.frames += 1
        except (LinkDown, PayloadTooLarge) as error:
            self.dropped += count
            logger.debug("a frame for %s is lost: %s", subject, error)
        finally:
            self._budget.give_back(cost, count)

    def _drop_old(self) -> None:
        oldest = monotonic() - self._config.publish_age
        for subject, waiting in list(self._waiting.items()):
            records = waiting.records
            while records and records[0][4] < oldest:
                record, charged = waiting.drop_first()
                if waiting.owed:
                    self._owed -= len(record) + RECORD_COST
                if charged is not None:
                    self.dropped += 1
                    self._budget.give_back(charged)
            if not records:
                del self._waiting[subject]


def _tell(told: Sequence[Told], numbers: Sequence[int]) -> None:
    for function, number in zip(told, numbers, strict=True):
        if function is not None:
            function(number)
