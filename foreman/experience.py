"""What each class of workers has cost so far: assumed of the next one of the class."""

from __future__ import annotations

from attrs import evolve

from foreman.demand import Demand

# How much what a class has shown before counts beside what it shows now.
MEMORY = 0.5


class Experience:
    """A mean over the members of a class and a fading past. Guarded by the Foreman's lock."""

    def __init__(self) -> None:
        self._shown: dict[str, Demand] = {}

    def of(self, kind: str) -> Demand | None:
        """What one worker of this class may be expected to cost; None if none has run yet."""
        return self._shown.get(kind)

    def learn(self, kind: str, demands: list[Demand]) -> None:
        """Take in what workers of one class have just been measured to cost."""
        hold = sum(demand.hold for demand in demands) / len(demands)
        load = sum(demand.load for demand in demands) / len(demands)
        before = self._shown.get(kind)
        if before is not None:
            hold += MEMORY * (before.hold - hold)
            load += MEMORY * (before.load - load)
        self._shown[kind] = evolve(demands[0], hold=hold, load=load)
