"""What waits for a peer that reads slowly, and what gives way there. No socket and no clock."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeAlias, TypeVar

from netserver.slow_reader import Policy
from netwire import Message

T = TypeVar("T", bytes, str, Message)

# What is around a message that waits, bytes: the object itself, its entry, the stamp, its place in
# the queue; from another thread a call and its arguments. Without it empty messages would be free.
OVERHEAD = 256

# Pings, and pongs, that wait: further ones take the place of the oldest. A peer may be answered
# its most recent ping only (RFC 6455, section 5.5.3), and to ask it twice is to ask it once.
MOST_CONTROL = 16

# A message, what it counts, and when it came.
Entry: TypeAlias = tuple[T, int, float]

# Called for each message that is lost: its bytes, and whether a newer one took its place.
Lose: TypeAlias = Callable[[int, bool], object]


class Backlog(Generic[T]):
    """One connection's queue: control first, then what must be written, then messages by policy.

    Args:
        policy: See `netserver.SlowReader`.
        limit: The bytes that messages may count here.
        max_age: How old the oldest may become, seconds.
        lose: Told of each message that is dropped.

    Attributes:
        size: What the messages count, bytes.
    """

    __slots__ = (
        "_control",
        "_firm",
        "_keyed",
        "_limit",
        "_lose",
        "_max_age",
        "_policy",
        "_queue",
        "size",
    )

    def __init__(self, policy: Policy, limit: int, max_age: float, lose: Lose) -> None:
        self._policy = policy
        self._limit = limit
        self._max_age = max_age
        self._lose = lose
        self._control: dict[bool, list[bytes]] = {}  # by whether they are answers
        self._firm: deque[bytes] = deque()
        # One of these two, by the policy.
        self._queue: deque[Entry[T]] = deque()
        self._keyed: OrderedDict[Hashable, Entry[T]] = OrderedDict()
        self.size = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._queue or self._keyed or self._firm or self._control)

    @property
    def oldest(self) -> float:
        """When the message in front came; infinite when none waits."""
        if self._queue:
            return self._queue[0][2]
        if self._keyed:
            return next(iter(self._keyed.values()))[2]
        return math.inf

    @property
    def falls_due(self) -> float:
        """When the connection is to be closed because of what waits; infinite for never."""
        return self.oldest + self._max_age if self._policy == "close" else math.inf

    # ---------------------------------------------------------------- what comes

    def offer(self, message: T, size: int, now: float, key: Hashable = None) -> bool:
        """Take a message, or not.

        Args:
            size: Its bytes, at most as many as the limit when it is to have any chance.
            now: The time, seconds; never less than before.
            key: Of all with one key ``latest`` keeps the newest.

        Returns:
            Whether it waits now. With ``close``, False means that the connection is to be closed.
        """
        cost = size + OVERHEAD
        policy = self._policy
        if policy == "drop_old" or policy == "latest":
            if cost > self._limit:
                self._lose(size, False)
                return False
            if policy == "latest":
                self._supersede(message, cost, now, key)
            else:
                self._drop_overdue(now)
                self._queue.append((message, cost, now))
                self.size += cost
            while self.size > self._limit:
                self._drop(self._pop()[1])
            return True
        if self.size + cost > self._limit or now - self.oldest > self._max_age:
            if policy != "close":
                self._lose(size, False)
            return False
        self._queue.append((message, cost, now))
        self.size += cost
        return True

    def control(self, data: bytes, is_answer: bool) -> None:
        """Take a ping, or a pong: an answer."""
        waiting = self._control.setdefault(is_answer, [])
        if len(waiting) == MOST_CONTROL:
            del waiting[0]
        waiting.append(data)

    def append(self, data: bytes) -> None:
        """Take what must be written, in its place: behind the like of it, before messages."""
        self._firm.append(data)

    def settle(self, encode: Callable[[T], bytes]) -> None:
        """What waits is the last: encode it, and have nothing of it give way any more."""
        while self.size:
            self.append(encode(self._pop()[0]))

    def forget(self) -> None:
        """Everything but control is not to be written after all."""
        self._firm.clear()
        self._queue.clear()
        self._keyed.clear()
        self.size = 0

    # ---------------------------------------------------------------- what goes

    def take(self, amount: int, now: float, encode: Callable[[T], bytes]) -> bytes:
        """The next bytes to write, whole messages, at least ``amount`` if there is so much.

        What is too old is dropped instead, where the policy says so.

        Args:
            now: The time, seconds.
            encode: Makes the bytes of a message.
        """
        pieces = [piece for kind in self._control.values() for piece in kind]
        self._control.clear()
        taken = sum(map(len, pieces))
        while self._firm and taken < amount:
            pieces.append(self._firm.popleft())
            taken += len(pieces[-1])
        ages = self._policy == "drop_old" or self._policy == "latest"
        while self.size and taken < amount:
            message, cost, came = self._pop()
            if ages and now - came > self._max_age:
                self._drop(cost)
                continue
            pieces.append(encode(message))
            taken += len(pieces[-1])
        return b"".join(pieces)

    # ---------------------------------------------------------------- inside

    def _supersede(self, message: T, cost: int, now: float, key: Hashable) -> None:
        older = self._keyed.get(key)
        if older is not None:
            self.size -= older[1]
            self._lose(older[1] - OVERHEAD, True)
        self._keyed[key] = (message, cost, now)
        self.size += cost
        if self.size > self._limit:
            self._keyed.move_to_end(key)  # or it might have to give way itself

    def _drop_overdue(self, now: float) -> None:
        while now - self.oldest > self._max_age:
            self._drop(self._pop()[1])

    def _pop(self) -> Entry[T]:
        entry = self._keyed.popitem(last=False)[1] if self._keyed else self._queue.popleft()
        self.size -= entry[1]
        return entry

    def _drop(self, cost: int) -> None:
        self._lose(cost - OVERHEAD, False)
