"""The roster's running sums against a recount, under any sequence of changes."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from foreman import Demand
from foreman.demand import Roster

demands = st.builds(
    Demand,
    kind=st.sampled_from(["a", "b"]),
    required_latency=st.sampled_from([0.01, 0.1, 1.0]),
    hold=st.sampled_from([0.0, 0.001, 0.05]) | st.floats(0, 2),
    load=st.floats(0, 1),
    measured=st.booleans(),
)


class RosterMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster()
        self.there: dict[int, Demand] = {}
        self.added = 0

    @rule(demand=demands)
    def add(self, demand: Demand) -> None:
        self.added += 1
        self.there[self.added] = demand
        self.roster.add(self.added, demand)

    @precondition(lambda self: bool(self.there))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.there)))
        self.roster.remove(key, self.there.pop(key))

    @precondition(lambda self: bool(self.there))
    @rule(data=st.data(), hold=st.floats(0, 2), load=st.floats(0, 1))
    def measure(self, data: st.DataObject, hold: float, load: float) -> None:
        key = data.draw(st.sampled_from(list(self.there)))
        measured = evolve(self.there[key], hold=hold, load=load, measured=True)
        self.roster.remove(key, self.there[key])
        self.roster.add(key, measured)
        self.there[key] = measured

    @invariant()
    def sums_equal_a_recount(self) -> None:
        recount: dict[tuple[str, float, bool], list[Demand]] = {}
        for demand in self.there.values():
            key = (demand.kind, demand.required_latency, demand.measured)
            recount.setdefault(key, []).append(demand)
        groups = {(g.kind, g.required_latency, g.measured): g for g in self.roster.groups()}
        assert groups.keys() == recount.keys()
        for key, group in groups.items():
            alike = recount[key]
            assert group.count == len(alike)
            assert group.hold == max(demand.hold for demand in alike)
            assert group.load == pytest.approx(sum(d.load for d in alike), abs=1e-9)
            assert group.rush == pytest.approx(sum(d.load * d.hold for d in alike), abs=1e-9)
            assert group.load >= 0
            assert group.rush >= 0

    @invariant()
    def lists_equal_a_recount(self) -> None:
        assert self.roster.count == len(self.there)
        assert sorted(self.roster.members()) == sorted(self.there)
        assert self.roster.latencies == tuple(
            sorted({demand.required_latency for demand in self.there.values()})
        )


TestRoster = RosterMachine.TestCase


def test_a_view_is_kept_until_something_changes() -> None:
    roster = Roster()
    demand = Demand(kind="a", required_latency=1.0, hold=0.0, load=0.0, measured=False)
    roster.add("x", demand)
    before = roster.groups()
    assert roster.groups() is before
    roster.add("y", demand)
    assert [group.count for group in before] == [1], "a view handed out never changes"
    assert [group.count for group in roster.groups()] == [2]
