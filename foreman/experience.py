"""What each class of workers has cost so far: assumed of the next one of the class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, log

from attrs import evolve

from foreman.demand import Demand

# What a class has shown before counts as much as what so many of its workers show now, at most.
HORIZON = 64

# Holds are taken for at least this long, seconds, so that they have a logarithm.
SHORTEST = 1e-7


class Experience:
    """A mean over the members of a class and a fading past. Guarded by the Foreman's lock.

    Of holds it is the geometric mean, so that a few offenders do not bring their whole class into
    disrepute: each of them is known by what it did itself.
    """

    def __init__(self) -> None:
        self._shown: dict[str, Demand] = {}
        self._weights: dict[str, int] = {}  # how many have shown that, up to HORIZON

    def of(self, kind: str) -> Demand | None:
        """What one worker of this class may be expected to cost; None if none has run yet."""
        return self._shown.get(kind)

    def learn(self, kind: str, demands: Sequence[Demand], ran: int, load: float) -> None:
        """Take in what workers of one class have just been measured to cost.

        Args:
            demands: Those who can be believed: they have run often, or cost more than was thought.
            ran: How many have run, these included. The others may yet cost what was thought, so
                that few who cost more do not stand for their class.
            load: The mean load of all of the class that there are where these ran. To look at
                those only who have run lately would be to take the busy ones for the class.
        """
        before = self._shown.get(kind)
        if before is None:
            if 2 * len(demands) < ran:
                return
            before, known = demands[0], 0
        else:
            known = self._weights[kind]
        self._weights[kind] = min(HORIZON, known + ran)
        new = 1 / (known + ran)

        def blend(past: float, present: Iterable[float], weight: float) -> float:
            return past + weight * sum(value - past for value in present)

        hold = blend(_log(before.hold), (_log(d.hold) for d in demands), new)
        mean = blend(_log(before.mean), (_log(d.mean) for d in demands), new)
        self._shown[kind] = evolve(
            before,
            hold=exp(hold),
            mean=exp(mean),
            load=blend(before.load, (load,), new * ran),
            computing=blend(before.computing, (d.computing for d in demands), new),
            measured=True,
            movable=True,
        )


def _log(seconds: float) -> float:
    return log(max(SHORTEST, seconds))
