"""Which peers want which subjects. Pure: no socket, no clock."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from netserver.backplane.zeromq.wire import Action, Change

H = TypeVar("H", bound=Hashable)

# A peer that subscribes to more is refused: some 200 bytes each are kept of them.
MOST_SUBJECTS = 1_000_000


class TooMany(ValueError):
    """A peer subscribes to more subjects than are kept of one."""


class SubscriptionTable(Generic[H]):
    """From a subject to the holders that want it.

    Most subjects are one client's, which is on one server: the tuples of those are shared.
    """

    def __init__(self) -> None:
        self._holders: dict[str, tuple[H, ...]] = {}
        self._alone: dict[H, tuple[H, ...]] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def of(self, subject: str) -> tuple[H, ...]:
        """Those that want a subject, in no order."""
        return self._holders.get(subject, ())

    def add(self, holder: H, subjects: Iterable[str]) -> None:
        """From now on it wants these, which it did not before."""
        alone = self._alone.setdefault(holder, (holder,))
        holders = self._holders
        for subject in subjects:
            others = holders.get(subject)
            holders[subject] = alone if others is None else (*others, holder)

    def remove(self, holder: H, subjects: Iterable[str]) -> None:
        """It no longer wants these, which it did."""
        for subject in subjects:
            others = tuple(each for each in self._holders[subject] if each is not holder)
            if len(others) == 1:
                others = self._alone[others[0]]
            if others:
                self._holders[subject] = others
            else:
                del self._holders[subject]

    def forget(self, holder: H, subjects: Iterable[str]) -> None:
        """It wants nothing more; ``subjects`` are all that it did."""
        self.remove(holder, subjects)
        self._alone.pop(holder, None)


class PeerSubscriptions(Generic[H]):
    """What one peer wants, kept up to date by its numbered changes.

    Attributes:
        number: The last change taken over.
        whole: Whether its set is known; not before it is told for the first time, nor after a gap.
        subjects: The set.
    """

    __slots__ = ("_arriving", "_holder", "_table", "number", "subjects", "whole")

    def __init__(self, table: SubscriptionTable[H], holder: H) -> None:
        self._table = table
        self._holder = holder
        self.number = 0
        self.whole = False
        self.subjects: set[str] = set()
        self._arriving: set[str] | None = None

    def apply(self, change: Change) -> bool:
        """Take over a change; False if one before it is missing, and the whole set is needed.

        Until that is complete, the old set goes on to count.

        Raises:
            TooMany: It would become more than `MOST_SUBJECTS`.
        """
        if change.action is Action.BEGIN:
            self._arriving = set()
        elif change.number != self.number + 1 or not (self.whole or self._arriving is not None):
            self._arriving = None
            self.whole = False
            return False
        self.number = change.number
        if change.action in (Action.BEGIN, Action.EXTEND, Action.END):
            if self._arriving is None:
                self.whole = False
                return False
            self._arriving.update(change.subjects)
            self._check(len(self._arriving))
            if change.action is Action.END:
                self._replace(self._arriving)
                self._arriving, self.whole = None, True
        elif self._arriving is not None:
            # A subscriber sends its set in one go, so a step in between is a mistake of its.
            self._arriving, self.whole = None, False
            return False
        elif change.action is Action.ADD:
            self._add(set(change.subjects))
        else:
            self._remove(set(change.subjects))
        return True

    def end(self) -> None:
        """The peer has gone."""
        self._table.forget(self._holder, self.subjects)
        self.subjects = set()

    def _add(self, subjects: set[str]) -> None:
        new = subjects - self.subjects
        self._check(len(self.subjects) + len(new))
        self.subjects |= new
        self._table.add(self._holder, new)

    def _remove(self, subjects: set[str]) -> None:
        gone = subjects & self.subjects
        self.subjects -= gone
        self._table.remove(self._holder, gone)

    def _replace(self, subjects: set[str]) -> None:
        self._remove(self.subjects - subjects)
        self._add(subjects)

    def _check(self, count: int) -> None:
        if count > MOST_SUBJECTS:
            raise TooMany(f"more than {MOST_SUBJECTS} subjects")
