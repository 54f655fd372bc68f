"""The demands on one node, kept as groups while workers come and go."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import nlargest
from math import frexp
from typing import TYPE_CHECKING, TypeAlias

from foreman.demand import Demand, Group

if TYPE_CHECKING:
    from foreman.seat import Seat

_Key: TypeAlias = tuple[str, float, bool, bool, int, bool, bool]

# Holds shorter than this are of one magnitude, seconds; longer ones differ by factors of four.
SHORT_HOLD = 60e-6


class Roster:
    """Who counts on a node, and what they come to. Guarded by its owner.

    Adding and removing costs the same however many workers there are, except that the next look at
    a group whose longest hold has gone goes through all of it once.

    Attributes:
        count: How many workers there are.
        latencies: The latencies declared here, strictest first. Replaced, never changed, so it may
            be read without the lock.
        promised: The strictest latency promised here, seconds: declared by any who does not hold
            its node for longer itself. Infinite when nothing is promised. As of the last `groups`;
            may be read without the lock.
        on_change: Called with nothing when `groups` has become another, once until it is asked for.
    """

    __slots__ = ("_groups", "_shown", "count", "latencies", "on_change", "promised")

    def __init__(self) -> None:
        self._groups: dict[_Key, _Tally] = {}
        self.count = 0
        self.latencies: tuple[float, ...] = ()
        self.promised = math.inf
        self.on_change: Callable[[], object] | None = None
        self._shown: tuple[Group, ...] | None = None  # as `groups` returned it; None when changed

    def add(self, seat: Seat, demand: Demand) -> None:
        alike = _key(demand)
        tally = self._groups.get(alike)
        if tally is None:
            tally = self._groups[alike] = _Tally()
            self._list_latencies()
            self.promised = min(self.promised, demand.required_latency)
        tally.add(seat, demand)
        self.count += 1
        self._change()

    def remove(self, seat: Seat, demand: Demand) -> None:
        alike = _key(demand)
        tally = self._groups[alike]
        tally.remove(seat, demand)
        if not tally.members:
            del self._groups[alike]
            self._list_latencies()
        self.count -= 1
        self._change()

    def replace(self, seat: Seat, before: Demand, after: Demand) -> None:
        """What one who counts here costs has changed."""
        alike = _key(before)
        if _key(after) == alike:
            tally = self._groups[alike]
            tally.remove(seat, before)
            tally.add(seat, after)
            self._change()
        else:
            self.remove(seat, before)
            self.add(seat, after)

    def groups(self) -> tuple[Group, ...]:
        if self._shown is None:
            self._shown = tuple([tally.group(key) for key, tally in self._groups.items()])
            kept = [group.required_latency for group in self._shown if not group.outsized]
            self.promised = min(kept) if kept else math.inf
        return self._shown

    def mean_load(self, kind: str) -> float:
        """The mean load of the workers of one kind, of which there must be some."""
        alike = [tally for key, tally in self._groups.items() if key[0] == kind]
        return sum(tally.load for tally in alike) / sum(len(tally.members) for tally in alike)

    def members(self, group: Group | None = None, count: int | None = None) -> list[Seat]:
        """The seats of the workers.

        Args:
            group: Those of one of `groups` only; none when it has changed meanwhile.
            count: At most so many, those with the longest holds; None for all.
        """
        if group is None:
            tallies = list(self._groups.values())
        else:
            tallies = [t for key, t in self._groups.items() if t.group(key) == group][:1]
        if count is None:
            return [seat for tally in tallies for seat in tally.members]
        held = [(d.hold, n, seat) for t in tallies for n, (seat, d) in enumerate(t.members.items())]
        return [seat for _, _, seat in nlargest(count, held)]

    def _change(self) -> None:
        if self._shown is not None:
            self._shown = None
            if self.on_change is not None:
                self.on_change()

    def _list_latencies(self) -> None:
        self.latencies = tuple(sorted({key[1] for key in self._groups}))


class _Tally:
    """The sums behind one `Group`."""

    __slots__ = ("_group", "computing", "hold", "load", "longest", "members", "round", "rush")

    def __init__(self) -> None:
        self._group: Group | None = None  # as `group` returned it, until something changes
        self.members: dict[Seat, Demand] = {}
        self.hold = self.round = self.load = self.rush = self.computing = 0.0
        self.longest = 0  # members whose hold is that; at 0 it was another's, and bounds theirs

    def add(self, seat: Seat, demand: Demand) -> None:
        self._group = None
        if not self.members or demand.hold > self.hold:
            self.hold, self.longest = demand.hold, 1
        elif demand.hold == self.hold:
            self.longest += 1
        self.members[seat] = demand
        self.round += demand.mean
        self.load += demand.load
        self.rush += demand.load * demand.mean
        self.computing += demand.load * demand.computing

    def remove(self, seat: Seat, demand: Demand) -> None:
        self._group = None
        del self.members[seat]
        if demand.hold == self.hold:
            self.longest -= 1
        # Sums of floats drift; below zero they would turn into room that is not there.
        self.round = max(0.0, self.round - demand.mean)
        self.load = max(0.0, self.load - demand.load)
        self.rush = max(0.0, self.rush - demand.load * demand.mean)
        self.computing = max(0.0, self.computing - demand.load * demand.computing)

    def group(self, key: _Key) -> Group:
        if self._group is None:
            if not self.longest:
                holds = [demand.hold for demand in self.members.values()]
                self.hold = max(holds)
                self.longest = holds.count(self.hold)
            kind, required_latency, measured, movable, _, computes, _ = key
            self._group = Group(
                kind=kind,
                required_latency=required_latency,
                measured=measured,
                movable=movable,
                computes=computes,
                count=len(self.members),
                hold=self.hold,
                round=self.round,
                load=self.load,
                rush=self.rush,
                computing=self.computing,
            )
        return self._group


def _key(demand: Demand) -> _Key:
    """What workers must have in common to be counted together."""
    magnitude = max(0, frexp(demand.hold / SHORT_HOLD)[1] + 1) // 2
    offends = demand.measured and demand.hold > demand.required_latency
    return (
        demand.kind,
        demand.required_latency,
        demand.measured,
        demand.movable,
        magnitude,
        demand.computes,
        offends,
    )
