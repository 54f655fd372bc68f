"""How nodes become fewer: after a long calm, with a margin, and never at the cost of a promise."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from foreman import BestFit, Demand, NodeView, Retire
from foreman.decisions import Action
from tests.foreman.views import demand, demands, find_victims, node, snapshot

LIGHT = demand(latency=0.1, hold=0.001, load=0.01)


def review(*nodes: NodeView, relapses: int = 0, lock_delay: float = 0.0) -> list[Action]:
    return list(BestFit().review(snapshot(*nodes, relapses=relapses, lock_delay=lock_delay)))


def retired(actions: list[Action]) -> str | None:
    """Which node is to go, if any; nothing else may have been decided."""
    assert all(isinstance(action, Retire) for action in actions), actions
    assert len(actions) <= 1
    return actions[0].node if actions and isinstance(actions[0], Retire) else None


def test_the_emptiest_of_the_calm_nodes_goes() -> None:
    actions = review(node("a", [LIGHT] * 3), node("b", [LIGHT]), node("c", [LIGHT] * 2))
    assert retired(actions) == "b"
    (action,) = actions
    assert action.reason == (
        "after 10 s of calm, what 1 workers there need can be kept on a as well"
    )


def test_a_node_without_workers_goes_first() -> None:
    actions = review(node("a", [LIGHT]), node("b"))
    assert retired(actions) == "b"
    assert actions[0].reason == "nobody was there for 10 s"


def test_the_last_node_stays() -> None:
    assert review(node("a")) == []


@pytest.mark.parametrize(("calm", "settled"), [(9.9, 60.0), (60.0, 0.4)])
@pytest.mark.parametrize("count", [1, 3], ids=["goer", "host"])
def test_both_must_have_been_calm(calm: float, settled: float, count: int) -> None:
    flawed = node("flawed", [LIGHT] * count, calm=calm, settled=settled)
    assert retired(review(flawed, node("other", [LIGHT] * 2))) is None


def test_with_one_lock_the_strict_and_the_much_looser_stay_apart() -> None:
    strict, loose = demand(0.01, 1e-4, 0.01), demand(0.1, 1e-4, 0.01)
    here, there = node("strict", [strict]), node("loose", [loose] * 2)
    assert retired(review(here, there, lock_delay=1e-4)) is None
    assert retired(review(here, there)) == "strict", "without a lock nobody waits for it"
    like = node("like", [evolve(loose, required_latency=0.099)] * 2)
    assert retired(review(here, like, lock_delay=1e-4)) == "strict"
    third = node("third", [loose] * 3)
    assert retired(review(here, there, third, lock_delay=1e-4)) == "loose", "it has another host"
    mixed = node("mixed", [loose, strict, loose])
    assert retired(review(here, mixed, lock_delay=1e-4)) is None


def test_a_stuck_node_neither_goes_nor_takes_anybody() -> None:
    assert retired(review(node("a", [LIGHT], stuck=True), node("b", [LIGHT]))) is None


def test_one_at_a_time() -> None:
    retiring = node("r", [LIGHT], retiring=True)
    assert review(retiring, node("a", [LIGHT]), node("b")) == []


def test_not_while_promises_are_broken() -> None:
    broken = node("x", [demand(latency=0.01, hold=1e-4), demand(hold=0.02, load=0.1)])
    assert retired(review(node("a"), node("b", [LIGHT]))) == "a"
    assert not any(isinstance(a, Retire) for a in review(broken, node("a"), node("b", [LIGHT])))


def test_a_margin_is_left() -> None:
    """What could be placed there need not be merged there."""
    strict = [demand(latency=0.01, hold=1e-4, load=0.001)]
    assert retired(review(node("a", strict), node("b", [demand(hold=0.004, load=0.01)]))) == "a"
    assert retired(review(node("a", strict), node("b", [demand(hold=0.006, load=0.01)]))) is None
    busy = demand(latency=0.5, hold=0.01, load=0.3)  # the two of them stay below 64 percent
    assert retired(review(node("a", [busy]), node("b", [busy]))) == "a"
    busier = demand(latency=0.5, hold=0.01, load=0.35)
    assert retired(review(node("a", [busier]), node("b", [busier]))) is None
    crowd = [demand(latency=0.3, hold=0.01, load=0.035)] * 10
    assert retired(review(node("a", crowd), node("b", crowd))) is None


def test_who_was_busy_a_moment_ago_is_not_taken_for_idle() -> None:
    resting, other = demand(hold=0.01), demand(hold=0.01, load=0.3)
    assert (
        retired(review(node("a", [resting], busiest=0.5), node("b", [other], busiest=0.3))) == "a"
    )
    assert (
        retired(review(node("a", [resting], busiest=0.6), node("b", [other], busiest=0.3))) is None
    )


def test_a_burst_that_was_seen_is_remembered() -> None:
    together = [demand(latency=0.01, hold=0.001, load=0.001)] * 3
    other = [demand(latency=0.01, hold=0.001, load=0.001)] * 4
    assert retired(review(node("a", together), node("b", other))) == "a"
    assert retired(review(node("a", together, bursty=True), node("b", other))) is None
    assert retired(review(node("a", together), node("b", other, bursty=True))) is None


def test_those_who_cannot_move_keep_their_node() -> None:
    stays = evolve(LIGHT, movable=False)
    assert retired(review(node("a", [stays]), node("b", [stays] * 2))) is None
    assert retired(review(node("a", [stays]), node("b", [LIGHT] * 2))) == "b"


def test_a_group_may_be_divided_among_several() -> None:
    many = [demand(latency=0.02, hold=0.001, load=0.02)] * 20
    few = [demand(latency=0.02, hold=0.001, load=0.02)] * 18
    (action,) = review(node("a", many), node("b", many), node("c", few))
    assert action == Retire(
        "c", "after 10 s of calm, what 18 workers there need can be kept on a and b as well"
    )


@pytest.mark.parametrize(("relapses", "patience"), [(0, 10), (1, 20), (3, 80), (6, 600), (16, 600)])
def test_patience_doubles_with_each_relapse_up_to_a_limit(relapses: int, patience: float) -> None:
    nodes = [node("a", [LIGHT], calm=patience), node("b", [LIGHT] * 2, calm=patience)]
    assert retired(review(*nodes, relapses=relapses)) == "a"
    nodes[1] = evolve(nodes[1], calm=patience - 0.1)
    assert retired(review(*nodes, relapses=relapses)) is None


def test_a_stuck_nodes_replacement_is_not_retired_again() -> None:
    """It would have to be spawned anew at once."""
    stuck, other = node("stuck", [LIGHT] * 3, stuck=True), node("replacement")
    assert review(stuck, other) == []
    assert retired(review(stuck, other, node("spare"))) is not None


@pytest.mark.parametrize(("there_are", "go"), [(2, 1), (31, 1), (32, 2), (48, 3)])
@pytest.mark.parametrize("demands", [[], [LIGHT]], ids=["empty", "light"])
def test_where_there_are_many_one_of_sixteen_goes(
    demands: list[Demand], there_are: int, go: int
) -> None:
    actions = review(*[node(f"n{number}", demands) for number in range(there_are)])
    leaving = {action.node for action in actions if isinstance(action, Retire)}
    assert len(leaving) == len(actions) == go
    for action in actions:
        assert not any(f"on {name} " in action.reason for name in leaving), "they take nobody"


some = st.lists(demands, min_size=1, max_size=5)


@settings(deadline=None)
@given(here=some, there=some)
def test_who_merges_can_be_kept_what_was_promised(here: list[Demand], there: list[Demand]) -> None:
    a, b = node("a", here), node("b", there)
    picture = snapshot(a, b)
    if isinstance(next(iter(BestFit().review(picture)), None), Retire):
        rules = BestFit().conditions(a, picture)
        assert not find_victims([*here, *there], evolve(rules, margin=0.5))
