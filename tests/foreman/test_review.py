"""What a careful reading of the Foreman found."""

from __future__ import annotations

from typing import ClassVar

from attrs import evolve

from foreman import Demand
from foreman.roster import Roster
from foreman.seat import Seat


class Compared(float):
    """A number that counts how often any of its kind is compared."""

    times: ClassVar[int] = 0

    def __gt__(self, other: float) -> bool:
        Compared.times += 1
        return float(self) > float(other)

    def __lt__(self, other: float) -> bool:
        Compared.times += 1
        return float(self) < float(other)

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return isinstance(other, float) and float(self) == float(other)

    __hash__ = float.__hash__


def test_holds_that_fade_longest_first_do_not_search_the_group_for_each() -> None:
    """So they are measured anew, some at a time, on a thread for which all on its node wait."""
    roster = Roster()
    seats = []
    for number in range(800):
        hold = Compared((100 + number / 10) * 1e-6)
        demand = Demand(kind="k", required_latency=1.0, hold=hold, mean=0.0, load=0.0)
        seats.append(Seat(None, None, demand, ""))
        roster.add(seats[-1], demand)
    roster.groups()
    Compared.times = 0
    for number, seat in enumerate(reversed(seats)):
        demand = evolve(seat.demand, hold=Compared(0.9 * seat.demand.hold))
        roster.replace(seat, seat.demand, demand)
        seat.demand = demand
        if number % 50 == 49:
            (group,) = roster.groups()
            assert float(group.hold) == max(float(seat.demand.hold) for seat in seats)
    assert Compared.times < 50 * len(seats)
