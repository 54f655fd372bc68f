"""Puts into order again what JetStream republishes out of turn.

nats-server publishes what it has stored after it has let go of the stream, so that of two messages
of different publishers the later may come first, by some microseconds (seen with 2.9.10). A
follower would take that for a loss, and read the whole again.
"""

from __future__ import annotations

import asyncio

from attrs import define, field

from netserver.backplane.journal import Follow, Record

PATIENCE = 0.05  # seconds; a predecessor that is not there by then is lost
MOST_RECORDS = 64  # of one subject that wait
MOST_BYTES = 1024 * 1024  # of one subject that wait


@define(eq=False)
class _Subject:
    """What one subject's followers have been told, and what waits for its turn."""

    last: int = 0
    waiting: dict[int, tuple[int, Record]] = field(factory=dict)  # by offset
    size: int = 0
    timer: asyncio.TimerHandle | None = None


class Turns:
    """Hands messages over in the order of each subject. Used on one event loop.

    Args:
        follow: Called with each in its turn, and, where one before it does not come, a little
            later: it is then told of its predecessor all the same.
    """

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self._subjects: dict[str, _Subject] = {}

    def take(self, subject: str, previous: int, record: Record) -> None:
        """One has arrived."""
        state = self._subjects.setdefault(subject, _Subject())
        if state.last and previous > state.last:
            state.waiting[record.offset] = previous, record
            state.size += len(record.payload)
            if len(state.waiting) > MOST_RECORDS or state.size > MOST_BYTES:
                self._give_up(subject, state)
            elif state.timer is None:
                loop = asyncio.get_running_loop()
                state.timer = loop.call_later(PATIENCE, self._give_up, subject, state)
        elif record.offset > state.last:  # or it comes too late: it was missed, and is read
            state.last = record.offset
            self._follow(subject, previous, record)
            while state.waiting and state.waiting[min(state.waiting)][0] <= state.last:
                self._hand_over(subject, state)
            if not state.waiting:
                _stop(state)

    def forget(self, subject: str) -> None:
        """It is not followed any more."""
        if (state := self._subjects.pop(subject, None)) is not None:
            _stop(state)

    def clear(self) -> None:
        """Begin anew: whatever comes next is the next."""
        for state in self._subjects.values():
            _stop(state)
        self._subjects.clear()

    def _give_up(self, subject: str, state: _Subject) -> None:
        _stop(state)
        while state.waiting:
            self._hand_over(subject, state)

    def _hand_over(self, subject: str, state: _Subject) -> None:
        """The first of those that wait."""
        offset = min(state.waiting)
        previous, record = state.waiting.pop(offset)
        state.size -= len(record.payload)
        state.last = max(state.last, offset)
        self._follow(subject, previous, record)


def _stop(state: _Subject) -> None:
    if state.timer is not None:
        state.timer.cancel()
        state.timer = None
