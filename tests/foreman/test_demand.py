"""What the policy sees: groups and nodes add up."""

from __future__ import annotations

import math

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from foreman import Demand, Group
from tests.foreman.views import demand, demands, node, snapshot


def test_a_group_of_some_with_the_same_demand() -> None:
    group = Group.of(demand(hold=0.5, mean=0.25, load=0.125, computing=0.5), 4)
    assert (group.count, group.hold, group.round, group.load) == (4, 0.5, 1.0, 0.5)
    assert (group.rush, group.computing) == (0.125, 0.25)


@settings(deadline=None)
@given(one=demands, count=st.integers(1, 64), fewer=st.integers(1, 64))
def test_some_of_a_group_are_as_so_many_of_its_typical_member(
    one: Demand, count: int, fewer: int
) -> None:
    group = Group.of(one, count)
    part, made = group.of_count(fewer), Group.of(group.typical, fewer)
    assert (part.count, part.hold) == (made.count, made.hold) == (fewer, one.hold)
    for name in ("round", "load", "rush", "computing"):
        assert getattr(part, name) == pytest.approx(getattr(made, name))
    assert group.typical.load == pytest.approx(one.load)


def test_a_group_is_outsized_when_one_of_them_was_measured_to_break_the_deal() -> None:
    assert Group.of(demand(latency=0.01, hold=0.02)).outsized
    assert not Group.of(demand(latency=0.01, hold=0.01)).outsized
    assert not Group.of(demand(latency=0.01, hold=0.02, measured=False)).outsized


def test_a_group_computes_or_waits() -> None:
    assert Group.of(demand(load=0.5, computing=0.5)).computes
    assert not Group.of(demand(load=0.5, computing=0.4)).computes


def test_a_node_adds_up() -> None:
    view = node(
        "a",
        [demand(hold=0.25, mean=0.125, load=0.5, computing=0.5)] * 2
        + [demand(latency=0.5, hold=0.5, load=0.25, kind="b"), demand(latency=0.1, hold=0.2)],
    )
    assert (view.count, view.load, view.totals.computing) == (4, 1.25, 0.75)
    assert (view.totals.longest, view.totals.second) == (0.5, 0.25)
    assert view.totals.round == 0.25 + 0.5 + 0.2
    assert view.totals.others == pytest.approx(0.25 + 0.2), "for the one with the longest mean"
    assert view.totals.rush == 2 * 0.5 * 0.125 + 0.25 * 0.5
    assert view.totals.strictest == 0.5, "the one declaring 0.1 s breaks the deal itself"


def test_an_empty_node_adds_up() -> None:
    view = node("a")
    assert (view.count, view.load, view.totals.computing, view.totals.longest) == (0, 0, 0, 0)
    assert view.totals.strictest == math.inf


def test_a_node_cannot_compute_more_than_all_the_time() -> None:
    busy = node("busy", [demand(load=0.75)] * 2)
    idle = node("idle")
    assert snapshot(busy, evolve(busy, name="other"), idle).computing == 2.0
