"""The order in which nodes are offered, kept up as they change: as if sorted afresh each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from foreman import Demand, NodeView
from foreman.lineup import Lineup
from foreman.roster import Roster
from foreman.seat import Seat
from tests.foreman.views import demand, demands

Step: TypeAlias = tuple[str, int, Demand]


@define(eq=False)
class Berth:
    name: str
    roster: Roster = field(factory=Roster)
    seats: list[Seat] = field(factory=list)


@define(eq=False)
class Nodes:
    """A lineup, the nodes in it, oldest first, and how often it asked for a picture."""

    there: list[Berth] = field(factory=list)
    asked: list[str] = field(factory=list)
    before_showing: Callable[[], object] = lambda: None
    lineup: Lineup[Berth] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.lineup = Lineup(self.show)

    def show(self, node: Berth) -> NodeView:
        self.before_showing()
        self.asked.append(node.name)
        return NodeView(name=node.name, groups=node.roster.groups())

    def enlist(self, name: str) -> Berth:
        node = Berth(name)
        self.there.append(node)
        self.lineup.enlist(node)
        return node

    def add(self, node: Berth, one: Demand) -> None:
        node.seats.append(Seat(None, node, one, ""))
        node.roster.add(node.seats[-1], one)

    def names(self) -> list[str]:
        return [view.name for view in self.lineup.views()]

    def sorted_afresh(self) -> list[NodeView]:
        views = [NodeView(name=node.name, groups=node.roster.groups()) for node in self.there]
        return sorted(views, key=lambda view: (view.load, view.count), reverse=True)


def test_the_fullest_comes_first_and_the_older_among_equals() -> None:
    nodes = Nodes()
    first, second, third = (nodes.enlist(name) for name in ("first", "second", "third"))
    assert nodes.names() == ["first", "second", "third"]
    nodes.add(third, demand(load=0.5))
    nodes.add(second, demand(load=0.25))
    assert nodes.names() == ["third", "second", "first"]
    nodes.add(first, demand(load=0.25))
    nodes.add(second, demand(load=0.0))
    assert nodes.names() == ["third", "second", "first"]
    nodes.lineup.strike_off(third)
    assert nodes.names() == ["second", "first"]


def test_only_what_has_changed_is_looked_at() -> None:
    nodes = Nodes()
    berths = [nodes.enlist(str(number)) for number in range(64)]
    nodes.names()
    nodes.asked.clear()
    nodes.add(berths[7], demand(load=0.5))
    nodes.add(berths[7], demand(load=0.25))
    nodes.lineup.touch(berths[9])
    assert nodes.names()[0] == "7"
    assert sorted(nodes.asked) == ["7", "9"]
    nodes.asked.clear()
    nodes.names()
    assert nodes.asked == []


def test_one_that_was_struck_off_is_not_looked_at_again() -> None:
    nodes = Nodes()
    gone, stays = nodes.enlist("gone"), nodes.enlist("stays")
    nodes.add(gone, demand(load=0.5))
    nodes.lineup.strike_off(gone)
    nodes.names()
    nodes.add(gone, demand(load=0.5))
    nodes.add(stays, demand(load=0.25))
    assert nodes.names() == ["stays"]
    assert "gone" not in nodes.asked


def test_a_finalizer_that_calls_in_meanwhile_sees_all_of_them() -> None:
    nodes = Nodes()
    first, second = nodes.enlist("first"), nodes.enlist("second")
    seen: list[list[str]] = []

    def finalize() -> None:
        nodes.before_showing = lambda: None
        nodes.add(second, demand(load=0.5))
        seen.append(nodes.names())

    nodes.before_showing = finalize
    nodes.add(first, demand(load=0.25))
    assert nodes.names() == ["second", "first"]
    assert seen == [["second", "first"]]


@pytest.mark.parametrize("when", range(1, 4))
def test_one_that_was_interrupted_is_made_good(when: int) -> None:
    nodes = Nodes()
    berths = [nodes.enlist(name) for name in ("first", "second", "third")]
    nodes.names()
    for load, berth in enumerate(berths, 1):
        nodes.add(berth, demand(load=load / 8))
    left = [when]

    def interrupt() -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    nodes.before_showing = interrupt
    with pytest.raises(KeyboardInterrupt):
        nodes.names()
    nodes.before_showing = lambda: None
    assert nodes.names() == ["third", "second", "first"]
    nodes.lineup.strike_off(berths[1])
    assert nodes.names() == ["third", "first"]


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["enlist", "strike off", "add", "add", "remove", "replace", "look"]),
            st.integers(0, 1000),
            demands,
        ),
        max_size=40,
    )
)
def test_it_is_as_if_sorted_afresh(steps: list[Step]) -> None:
    nodes = Nodes()
    for number, (what, which, one) in enumerate(steps):
        node = nodes.there[which % len(nodes.there)] if nodes.there else None
        if what == "enlist" or node is None:
            nodes.enlist(str(number))
        elif what == "strike off":
            nodes.there.remove(node)
            nodes.lineup.strike_off(node)
        elif what == "add":
            nodes.add(node, one)
        elif what == "look":
            assert list(nodes.lineup.views()) == nodes.sorted_afresh()
        elif node.seats:
            seat = node.seats.pop(which % len(node.seats))
            if what == "remove":
                node.roster.remove(seat, seat.demand)
            else:
                node.roster.replace(seat, seat.demand, one)
                seat.demand = one
                node.seats.append(seat)
    assert list(nodes.lineup.views()) == nodes.sorted_afresh()
