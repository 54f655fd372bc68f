"""What each class of workers has cost so far: assumed of the next one of the class."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

from attrs import evolve

from foreman.demand import Demand

# How much what a class has shown before counts beside what it shows now.
MEMORY = 0.5

# Holds are taken for at least this long, seconds, so that they have a logarithm.
SHORTEST = 1e-7


class Experience:
    """A mean over the members of a class and a fading past. Guarded by the Foreman's lock.

    Of holds it is the geometric mean, so that a few offenders do not bring their whole class into
    disrepute: each of them is known by what it did itself.
    """

    def __init__(self) -> None:
        self._shown: dict[str, Demand] = {}

    def of(self, kind: str) -> Demand | None:
        """What one worker of this class may be expected to cost; None if none has run yet."""
        return self._shown.get(kind)

    def learn(self, kind: str, demands: Sequence[Demand]) -> None:
        """Take in what workers of one class have just been measured to cost."""
        count = len(demands)
        hold = sum(log(max(SHORTEST, demand.hold)) for demand in demands) / count
        mean = sum(log(max(SHORTEST, demand.mean)) for demand in demands) / count
        load = sum(demand.load for demand in demands) / count
        computing = sum(demand.computing for demand in demands) / count
        before = self._shown.get(kind)
        if before is not None:
            hold += MEMORY * (log(before.hold) - hold)
            mean += MEMORY * (log(before.mean) - mean)
            load += MEMORY * (before.load - load)
            computing += MEMORY * (before.computing - computing)
        self._shown[kind] = evolve(
            demands[0],
            hold=exp(hold),
            mean=exp(mean),
            load=load,
            computing=computing,
            measured=True,
            movable=True,
        )
