"""The roster's running sums against a recount, under any sequence of changes."""

from __future__ import annotations

import math

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from foreman import Demand
from foreman.roster import SHORT_HOLD, Roster
from foreman.seat import Seat
from tests.foreman.views import demand, roster

# Some on either side of what is declared.
any_hold = st.sampled_from([0.0, 0.009, 0.011]) | st.floats(0, 2)
any_demand = st.builds(
    demand,
    st.sampled_from([0.01, 0.1]),
    any_hold,
    st.floats(0.001, 1),  # without any load, those who compute look like those who wait
    st.sampled_from(["a", "b"]),
    mean=st.floats(0, 1),
    computing=st.floats(0, 1),
    measured=st.booleans(),
    movable=st.booleans(),
)


class RosterMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster()
        self.there: dict[Seat, Demand] = {}

    @rule(one=any_demand)
    def add(self, one: Demand) -> None:
        seat = Seat(None, None, one, "")
        self.there[seat] = one
        self.roster.add(seat, one)

    @precondition(lambda self: bool(self.there))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        seat = data.draw(st.sampled_from(list(self.there)))
        self.roster.remove(seat, self.there.pop(seat))

    @precondition(lambda self: bool(self.there))
    @rule(data=st.data(), hold=any_hold, load=st.floats(0.001, 1))
    def measure(self, data: st.DataObject, hold: float, load: float) -> None:
        seat = data.draw(st.sampled_from(list(self.there)))
        measured = evolve(self.there[seat], hold=hold, load=load, measured=True)
        self.roster.replace(seat, self.there[seat], measured)
        self.there[seat] = measured

    @invariant()
    def sums_equal_a_recount(self) -> None:
        left = dict(self.there)
        for group in self.roster.groups():
            members = [self.there[seat] for seat in self.roster.members(group)]
            assert len(members) == group.count > 0
            assert group.hold == max(one.hold for one in members)
            for name, total in [
                ("round", sum(one.mean for one in members)),
                ("load", sum(one.load for one in members)),
                ("rush", sum(one.load * one.mean for one in members)),
                ("computing", sum(one.load * one.computing for one in members)),
            ]:
                assert getattr(group, name) == pytest.approx(total, abs=1e-9)
                assert getattr(group, name) >= 0
            for seat in self.roster.members(group):
                del left[seat]  # each is in one group, and only once
        assert not left

    @invariant()
    def groups_are_alike(self) -> None:
        for group in self.roster.groups():
            members = [self.there[seat] for seat in self.roster.members(group)]
            for name in ("kind", "required_latency", "measured", "movable"):
                assert {getattr(one, name) for one in members} == {getattr(group, name)}
            assert len({one.computing >= 0.5 for one in members}) == 1
            longest, shortest = group.hold, min(one.hold for one in members)
            assert longest < SHORT_HOLD or longest < 4 * shortest
            keeps = {one.measured and one.hold > one.required_latency for one in members}
            assert keeps == {group.outsized}, "an offender is not counted with those it harms"

    @invariant()
    def lists_equal_a_recount(self) -> None:
        assert self.roster.count == len(self.there)
        assert set(self.roster.members()) == set(self.there)
        declared = {one.required_latency for one in self.there.values()}
        assert self.roster.latencies == tuple(sorted(declared))

    @invariant()
    def what_is_promised_is_told(self) -> None:
        self.roster.groups()
        kept = [
            one.required_latency
            for one in self.there.values()
            if not (one.measured and one.hold > one.required_latency)
        ]
        assert self.roster.promised == min(kept, default=math.inf)


TestRoster = RosterMachine.TestCase
TestRoster.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_groups_are_kept_until_something_changes() -> None:
    there = roster([demand()])
    groups = there.groups()
    assert there.groups() is groups
    seat = Seat(None, None, demand(), "")
    there.add(seat, demand())
    assert [group.count for group in there.groups()] == [2]
    there.remove(seat, demand())
    assert [group.count for group in there.groups()] == [1]


def test_a_promise_to_a_newcomer_is_told_at_once() -> None:
    there = roster([demand(latency=1.0)])
    strict = demand(latency=0.01)
    there.add(Seat(None, None, strict, ""), strict)
    assert there.promised == 0.01


def test_many_changes_leave_no_room_that_is_not_there() -> None:
    """Sums of floats drift; an empty group begins anew, and none falls below zero."""
    there = Roster()
    stays = demand(load=1e-9, hold=1e-9)
    there.add(Seat(None, None, stays, ""), stays)
    for n in range(10_000):
        passing = demand(load=0.1 * (n % 7 + 1), hold=1e-6 * (n % 5 + 1), computing=0.9)
        seat = Seat(None, None, passing, "")
        there.add(seat, passing)
        again = evolve(passing, load=0.3)
        there.replace(seat, passing, again)
        there.remove(seat, again)
    (group,) = there.groups()
    assert group.load == pytest.approx(1e-9, abs=1e-9)
    assert group.rush >= 0
    assert group.hold == 1e-9


def test_an_offender_is_not_counted_with_those_it_harms() -> None:
    """However alike they are: otherwise they would be excused with it."""
    there = roster([demand(latency=0.01, hold=0.009), demand(latency=0.01, hold=0.011)])
    assert sorted(group.outsized for group in there.groups()) == [False, True]
    assert there.promised == 0.01


def test_some_members_are_those_with_the_longest_holds() -> None:
    there = roster([demand(hold=0.010 + n / 10_000) for n in range(5)])
    (group,) = there.groups()
    assert [seat.demand.hold for seat in there.members(group, 2)] == [0.0104, 0.0103]
    assert len(there.members(count=3)) == 3
    assert len(there.members(group, 9)) == 5


def test_a_group_that_has_changed_has_no_members() -> None:
    there = roster([demand(hold=0.01)] * 2)
    (group,) = there.groups()
    later = demand(hold=0.012)
    there.add(Seat(None, None, later, ""), later)
    assert there.members(group) == []
