"""What is done about broken promises: the offenders go, or their victims, no more than needed."""

from __future__ import annotations

import math

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from foreman import BestFit, Demand, NodeView, Placement, Relocate
from foreman.decisions import Action
from foreman.demand import Snapshot
from foreman.feasibility import find_obstacle
from foreman.ledger import BELIEVED_AFTER, Cost
from tests.foreman.simulation import SimNode, Simulation
from tests.foreman.views import demand, node, snapshot

STRICT = demand(latency=0.01, hold=0.001, load=0.01, kind="app.Strict")
OFFENDER = demand(latency=1.0, hold=0.02, load=0.1, kind="app.Offender")


def review(*nodes: NodeView, max_nodes: int = 8, lock_delay: float = 0.0) -> list[Action]:
    return list(BestFit().review(snapshot(*nodes, max_nodes=max_nodes, lock_delay=lock_delay)))


def review_locked(*nodes: NodeView, max_nodes: int = 8) -> list[Action]:
    return review(*nodes, max_nodes=max_nodes, lock_delay=1e-4)


def moved(actions: list[Action]) -> list[tuple[str, str, int]]:
    """From which node, of which kind, how many; nothing else may have been decided."""
    assert all(isinstance(action, Relocate) for action in actions), actions
    return [(a.node, a.group.kind, a.count) for a in actions if isinstance(a, Relocate)]


def test_the_offender_goes_and_the_reason_says_why() -> None:
    actions = review(node("a", [STRICT] * 5 + [OFFENDER]))
    assert moved(actions) == [("a", "app.Offender", 1)]
    reason = actions[0].reason
    assert reason.startswith("relieves a, where Strict declaring 0.01 s might wait 0.02")


def test_where_every_promise_can_be_kept_nobody_goes() -> None:
    assert review(node("a", [STRICT] * 5 + [evolve(OFFENDER, hold=0.005, mean=0.005)])) == []


def test_an_assumption_is_no_reason_to_move_anybody() -> None:
    assert review(node("a", [STRICT, evolve(OFFENDER, measured=False)])) == []


def test_a_node_that_was_just_acted_on_is_left_alone() -> None:
    assert review(node("a", [STRICT, OFFENDER], settled=0.4)) == []
    assert review(node("a", [STRICT, OFFENDER], retiring=True)) == []


def test_no_more_go_than_needed() -> None:
    """Forty that hold 1 ms, where thirty of them can bear the queue, and so can a strict one."""
    many = [demand(latency=0.004, hold=0.001, load=0.021)] * 40
    assert moved(review(node("a", many))) == [("a", "app.Kind", 10)]
    strict = demand(latency=0.004, hold=0.0001, load=0.001, kind="app.Strict")
    loose = [evolve(one, required_latency=1.0) for one in many]
    assert moved(review(node("a", [*loose, strict]))) == [("a", "app.Kind", 10)]


def test_offenders_that_harm_each_other_leave_one_behind() -> None:
    mutual = demand(latency=0.01, hold=0.02, load=0.1, computing=0.0)
    assert moved(review(node("a", [mutual] * 3))) == [("a", "app.Kind", 2)]


def test_the_worst_offender_goes_first_and_that_may_be_enough() -> None:
    lesser = evolve(OFFENDER, hold=0.008, mean=0.008, kind="app.Lesser")
    assert moved(review(node("a", [STRICT, lesser, OFFENDER]))) == [("a", "app.Offender", 1)]


def test_an_offender_that_cannot_leave_makes_its_victims_leave() -> None:
    loose = demand(latency=1.0, hold=0.005, load=0.01, kind="app.Loose")
    here = node("a", [STRICT] * 3 + [loose, evolve(OFFENDER, movable=False)])
    actions = review(here)
    assert moved(actions) == [("a", "app.Strict", 3)]
    assert actions[0].reason.startswith("leaves a to those who cannot leave it")


def test_nobody_can_be_moved_where_there_is_no_place() -> None:
    here = node("a", [STRICT, OFFENDER])
    assert review(here, max_nodes=1) == []
    there = node("b", [evolve(OFFENDER, kind="app.Other", load=0.01)])
    assert moved(review(here, there, max_nodes=2)) == [("a", "app.Offender", 1)]


def test_where_nodes_are_scarce_offenders_stay_together() -> None:
    mutual = demand(latency=0.01, hold=0.02, load=0.1, computing=0.0)
    assert review(node("a", [mutual] * 2), max_nodes=2) == []
    assert len(review(node("a", [mutual] * 2), max_nodes=3)) == 1


def test_computing_offenders_stay_together_where_there_is_one_lock() -> None:
    mutual = demand(latency=0.01, hold=0.02, load=0.1)
    assert review(node("a", [mutual] * 3), lock_delay=1e-4) == []
    assert moved(review(node("a", [mutual] * 3))) == [("a", "app.Kind", 2)]
    asleep = [evolve(mutual, computing=0.0)] * 3
    assert moved(review(node("a", asleep), lock_delay=1e-4)) == [("a", "app.Kind", 2)]


def test_where_all_of_the_one_lock_is_in_use_another_node_is_no_help() -> None:
    crowd = [demand(latency=0.01, hold=0.002, load=0.02)] * 50
    assert review(node("a", crowd), lock_delay=1e-4) == []
    assert len(review(node("a", crowd))) == 1
    strict = [demand(latency=0.001, hold=1e-4, load=0.001, kind="app.Strict")] * 5
    actions = review(node("a", crowd + strict), lock_delay=1e-4)
    assert moved(actions) == [("a", "app.Strict", 5)], "those who are stricter are helped by it"


def test_a_few_misses_without_a_cause_are_nobodys_fault() -> None:
    together = [demand(latency=0.01, hold=0.002, load=0.01)] * 10
    assert review(node("a", together, late=2)) == []
    (action,) = review(node("a", together, late=3))
    assert isinstance(action, Relocate)
    assert action.bursty, "they become ready together"
    assert 0 < action.count < 10
    assert review(node("a", [demand(latency=0.01, hold=1e-4)] * 10, late=99)) == []


def test_what_nothing_measured_explains_parts_the_strictest_from_who_takes_more_time() -> None:
    strict = [demand(latency=0.01, hold=1e-4, load=0.002, kind="app.Strict")] * 10
    loose = [demand(latency=1.0, hold=1e-4, load=0.005, kind="app.Loose")] * 50
    assert review_locked(node("a", strict + loose, late=2)) == []
    actions = review_locked(node("a", strict + loose, late=3))
    assert moved(actions) == [("a", "app.Strict", 10)]
    assert "nothing measured says why" in actions[0].reason
    # Also where some of them are not known yet, and only where all of them can go.
    new = [evolve(each, measured=False) for each in strict[:3]]
    assert sorted(moved(review_locked(node("a", [*strict[3:], *new, *loose], late=3)))) == [
        ("a", "app.Strict", 3),
        ("a", "app.Strict", 7),
    ]
    assert review(node("a", strict + loose, late=3)) == [], "without a lock it makes no difference"
    stays = [evolve(strict[0], movable=False)]
    assert review_locked(node("a", [*strict, *stays, *loose], late=3)) == []


def test_who_takes_most_of_the_time_has_nobody_to_leave() -> None:
    strict = [demand(latency=0.01, hold=1e-4, load=0.02, kind="app.Strict")] * 10
    loose = [demand(latency=1.0, hold=1e-4, load=0.005, kind="app.Loose")] * 20
    assert review_locked(node("a", strict + loose, late=99)) == []
    assert review_locked(node("a", strict, late=99)) == []


def test_nobody_leaves_those_who_do_hardly_anything() -> None:
    strict = [demand(latency=0.01, hold=1e-4, load=0.002, kind="app.Strict")] * 10
    loose = [demand(latency=1.0, hold=1e-4, load=0.001, kind="app.Loose")]
    assert review_locked(node("a", strict + loose * 62, late=99)) == []
    assert len(review_locked(node("a", strict + loose * 64, late=3))) == 1


def test_the_strictest_part_only_where_there_is_room_for_them() -> None:
    strict = [demand(latency=0.01, hold=1e-4, load=0.002, kind="app.Strict")] * 10
    loose = [demand(latency=1.0, hold=1e-4, load=0.005, kind="app.Loose")] * 50
    here = node("a", strict + loose, late=3)
    assert review_locked(here, node("b", [OFFENDER]), max_nodes=2) == []
    assert moved(review_locked(here, node("b", loose[:2]), max_nodes=2)) == [
        ("a", "app.Strict", 10)
    ]


def test_several_nodes_are_relieved_at_once() -> None:
    actions = review(node("a", [STRICT, OFFENDER]), node("b", [STRICT, OFFENDER]))
    assert moved(actions) == [("a", "app.Offender", 1), ("b", "app.Offender", 1)]


def test_no_place_is_looked_for_again_for_those_much_alike() -> None:
    """In one review: there may be hundreds of nodes, and as many to look through for each."""
    asked: list[str | None] = []

    class Noting(BestFit):
        def place(
            self,
            demand: Demand,
            snapshot: Snapshot,
            home: str | None = None,
            avoid: str | None = None,
        ) -> Placement:
            asked.append(avoid)
            return super().place(demand, snapshot, home, avoid)

    a, b = node("a", [STRICT, OFFENDER]), node("b", [STRICT, OFFENDER])
    assert Noting().review(snapshot(a, b, max_nodes=2)) == []
    assert asked == ["a"]
    slower = node("b", [STRICT, evolve(OFFENDER, hold=0.2)])
    asked.clear()
    assert Noting().review(snapshot(a, slower, max_nodes=2)) == []
    assert sorted(filter(None, asked)) == ["a", "b"]


# ---------------------------------------------------------------- what is promised stays feasible

costs = st.tuples(
    st.sampled_from(["app.A", "app.B"]),
    st.sampled_from([0.01, 0.1, 1.0]),
    st.floats(1e-5, 0.5),
    st.floats(0.0, 0.4),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
    st.integers(0, 3),
)


def _picture(sim: Simulation) -> Snapshot:
    return Snapshot(
        nodes=tuple(NodeView(name=n.name, groups=n.roster.groups()) for n in sim.nodes),
        max_nodes=sim.max_nodes,
    )


def _keeps(sim: Simulation, there: SimNode) -> bool:
    """Whether all who keep the deal can be kept what they were promised."""
    (view,) = [view for view in _picture(sim).nodes if view.name == there.name]
    rules = evolve(BestFit().conditions(view, _picture(sim)), excused=True)
    return find_obstacle(view.groups, rules) is None


@settings(max_examples=60, deadline=None)
@given(workers=st.lists(costs, max_size=12), max_nodes=st.integers(4, 8))
def test_no_action_breaks_a_promise_that_was_kept(
    workers: list[tuple[str, float, float, float, float, bool, int]], max_nodes: int
) -> None:
    """Whatever is where, relieving, merging and placing anew only ever make it better."""
    sim = Simulation(max_nodes=max_nodes)
    for _ in range(4):
        sim.spawn().rests = math.inf
    for kind, latency, hold, load, computing, movable, here in workers:
        worker = sim.add(
            kind, latency, hold, load, computing=computing, movable=movable, node=sim.nodes[here]
        )
        cost = Cost(
            runs=BELIEVED_AFTER,
            hold=hold,
            mean=hold / 2,
            load=load,
            computing=computing,
            movable=movable,
        )
        worker.load = 0.0  # nothing changes by itself
        sim.ledger.learn([(worker.seat, cost)])
    kept = {there for there in sim.nodes if _keeps(sim, there)}

    def look() -> None:
        nonlocal kept
        broken = {there for there in sim.nodes if not _keeps(sim, there)}
        assert not broken & kept
        kept = set(sim.nodes) - broken

    sim.after_step = look
    sim.now = 60.0  # long enough calm to be merged
    sim.advance(4)
