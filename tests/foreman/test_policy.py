"""The policy on made-up snapshots, and its rule written out a second time, worker by worker."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from foreman import BestFit, Demand, Group, NodeView, Place, Placement, Refuse, Snapshot, Spawn
from foreman.demand import Roster


def demand(
    latency: float = 1.0,
    hold: float = 0.0,
    load: float = 0.0,
    kind: str = "app.Kind",
    measured: bool = True,
) -> Demand:
    return Demand(kind=kind, required_latency=latency, hold=hold, load=load, measured=measured)


def node(name: str, demands: Sequence[Demand] = (), stuck: bool = False) -> NodeView:
    roster = Roster()
    for key, one in enumerate(demands):
        roster.add(key, one)
    return NodeView(name=name, groups=roster.groups(), stuck=stuck)


def place(
    newcomer: Demand,
    *nodes: NodeView,
    max_nodes: int = 8,
    home: str | None = None,
    lock_delay: float = 0.0,
    policy: BestFit | None = None,
) -> Placement:
    snapshot = Snapshot(nodes=nodes, max_nodes=max_nodes, lock_delay=lock_delay)
    return (policy or BestFit()).place(newcomer, snapshot, home)


# ---------------------------------------------------------------- by example


def test_the_first_worker_gets_a_node() -> None:
    assert place(demand()) == Spawn("there is no node yet")


def test_the_fullest_feasible_node_is_taken() -> None:
    quiet = node("quiet", [demand(load=0.1)])
    busy = node("busy", [demand(load=0.5)])
    full = node("full", [demand(load=0.7)])
    decision = place(demand(load=0.2), quiet, full, busy)
    assert isinstance(decision, Place)
    assert decision.node == "busy"


def test_of_nodes_with_equal_load_the_one_with_more_workers_is_taken() -> None:
    decision = place(demand(), node("one", [demand()]), node("two", [demand()] * 2))
    assert isinstance(decision, Place)
    assert decision.node == "two"


def test_the_newcomer_must_not_break_what_its_neighbours_were_promised() -> None:
    strict = node("strict", [demand(latency=0.01)])
    decision = place(demand(latency=5.0, hold=0.02), strict)
    assert isinstance(decision, Spawn)
    assert "Kind declaring 0.01 s might wait 0.02 s" in decision.reason


def test_the_newcomers_own_promise_counts() -> None:
    slow = node("slow", [demand(latency=5.0, hold=0.02)])
    assert isinstance(place(demand(latency=0.01), slow), Spawn)
    assert isinstance(place(demand(latency=0.03), slow), Place)


def test_a_worker_does_not_wait_for_itself() -> None:
    """It takes longer than it may wait; that harms nobody who has time."""
    patient = node("patient", [demand(latency=10.0)])
    assert isinstance(place(demand(latency=0.01, hold=1.0), patient), Place)
    two = node("two", [demand(latency=10.0), demand(latency=0.01, hold=1.0, kind="other")])
    assert isinstance(place(demand(latency=0.01, hold=1.0), two), Spawn)


def test_a_worker_alone_may_do_what_it_likes() -> None:
    greedy = demand(latency=0.001, hold=1.0, load=1.0)
    assert isinstance(place(greedy, node("empty"), lock_delay=0.005), Place)


def test_a_node_is_not_filled_beyond_its_share() -> None:
    decision = place(demand(load=0.5), node("half", [demand(load=0.5)]))
    assert decision == Spawn("on half, the load would be 100% of at most 80%")


def test_the_queue_counts() -> None:
    """Ten workers at 5 % and 10 ms each: what arrives finds others before it."""
    many = node("many", [demand(hold=0.01, load=0.05)] * 10)
    wait = 0.01 + 10 * 0.05 * 0.01 / (2 * 0.5)
    assert isinstance(place(demand(latency=wait * 1.01), many), Place)
    assert isinstance(place(demand(latency=wait * 0.99), many), Spawn)


def test_the_interpreter_lock_counts_by_the_load_of_other_nodes() -> None:
    idle = node("idle", [demand(), demand()])
    computing = node("computing", [demand(load=0.75)])
    strict = demand(latency=0.003)
    assert isinstance(place(strict, idle, lock_delay=0.005), Place)
    assert isinstance(place(strict, idle, computing, lock_delay=0.001), Place)
    decision = place(strict, idle, evolve(computing, stuck=True), lock_delay=0.005)
    assert isinstance(decision, Spawn)


def test_home_is_preferred_while_it_is_feasible() -> None:
    home, fuller = node("home", [demand()]), node("fuller", [demand(load=0.5)])
    decision = place(demand(), fuller, home, home="home")
    assert decision == Place("home", "stays: every latency there can be kept")
    decision = place(demand(), fuller, evolve(home, stuck=True), home="home")
    assert isinstance(decision, Place)
    assert decision.node == "fuller"


def test_a_stuck_node_takes_nobody() -> None:
    assert place(demand(), node("a", stuck=True)) == Spawn("a is stuck")
    decision = place(demand(), node("a", stuck=True), max_nodes=1)
    assert decision == Refuse("all 1 nodes are taken; a is stuck")


# ---------------------------------------------------------------- assumptions and reserved room


def test_strict_and_loose_unknown_workers_start_apart() -> None:
    policy = BestFit()
    loose = policy.assume("loose", 1.0, None)
    strict = policy.assume("strict", 0.01, None)
    assert not loose.measured
    assert isinstance(place(strict, node("a", [loose])), Spawn)
    assert isinstance(place(loose, node("a", [strict])), Spawn)
    harmless = evolve(loose, hold=0.0001, load=0.0, measured=True)
    assert isinstance(place(strict, node("a", [harmless])), Place)


def test_what_a_class_has_shown_is_assumed_of_the_next() -> None:
    policy = BestFit()
    shown = demand(hold=0.003, load=0.2)
    assumed = policy.assume("app.Kind", 1.0, shown)
    assert (assumed.hold, assumed.load, assumed.measured) == (0.003, 0.2, False)
    idle = policy.assume("app.Kind", 1.0, evolve(shown, load=0.0))
    assert idle.load > 0, "room is reserved even for one of an idle class"


def test_a_burst_of_unknown_workers_spreads() -> None:
    policy = BestFit()
    rosters: dict[str, Roster] = {}
    for key in range(1000):
        newcomer = policy.assume("app.Kind", 0.1, None)
        nodes = tuple(NodeView(name=name, groups=r.groups()) for name, r in rosters.items())
        decision = policy.place(newcomer, Snapshot(nodes=nodes, max_nodes=100))
        if isinstance(decision, Place):
            rosters[decision.node].add(key, newcomer)
        else:
            assert isinstance(decision, Spawn)
            rosters[f"node-{key}"] = Roster()
            rosters[f"node-{key}"].add(key, newcomer)
    most = max(roster.count for roster in rosters.values())
    assert most <= policy.full / policy.assumed_load
    assert len(rosters) >= 9


def test_at_the_cap_assumptions_refuse_nobody() -> None:
    policy = BestFit()
    loose = policy.assume("loose", 1.0, None)
    strict = policy.assume("strict", 0.01, None)
    crowded, roomy = node("crowded", [loose] * 3), node("roomy", [loose] * 2)
    decision = place(strict, crowded, roomy, max_nodes=2)
    assert isinstance(decision, Place)
    assert decision.node == "roomy", "the least reserved"


def test_at_the_cap_measured_costs_do_refuse() -> None:
    slow = node("slow", [demand(latency=1.0, hold=0.5)])
    strict = BestFit().assume("strict", 0.01, None)
    decision = place(strict, slow, max_nodes=1)
    assert isinstance(decision, Refuse)
    assert decision.reason.startswith("all 1 nodes are taken; on slow, ")
    assert isinstance(place(evolve(strict, measured=True), slow, max_nodes=1), Refuse)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
@pytest.mark.parametrize("name", ["assumed_hold", "assumed_load", "full"])
def test_shares_must_be_shares(name: str, share: float) -> None:
    with pytest.raises(ValueError, match=name):
        BestFit(**{name: share})


def test_a_view_adds_up() -> None:
    view = node("a", [demand(load=0.25)] * 2 + [demand(load=0.125, kind="b")])
    assert (view.count, view.load) == (3, 0.625)


# ---------------------------------------------------------------- against the rule, naively

FULL = 0.8

# Binary fractions, so that both ways of adding them up give exactly the same.
seconds = st.integers(1, 64).map(lambda n: n / 64)
demands = st.builds(
    demand,
    latency=seconds,
    hold=st.integers(0, 64).map(lambda n: n / 256),
    load=st.integers(0, 16).map(lambda n: n / 32),
    kind=st.sampled_from(["app.A", "app.B"]),
    measured=st.booleans(),
)


def keeps(workers: Sequence[Demand], lock_wait: float) -> bool:
    """The rule of `BestFit`, as its docstring has it, for each worker by itself."""
    if len(workers) == 1:
        return True
    load = sum(worker.load for worker in workers)
    if load > FULL:
        return False
    queue = sum(worker.load * worker.hold for worker in workers) / (2 * (1 - load))
    for worker in workers:
        longest = max(other.hold for other in workers if other is not worker)
        if longest + queue + lock_wait > worker.required_latency:
            return False
    return True


def fresh(one: Demand) -> Demand:
    """A demand equal to another and yet not the same worker's."""
    return evolve(one)


@given(
    newcomers=st.lists(demands, max_size=20),
    max_nodes=st.integers(1, 4),
    stuck=st.sets(st.integers(0, 3)),
    lock_delay=st.sampled_from([0.0, 1 / 256, 1 / 32]),
    home=st.none() | st.integers(0, 3).map(str),
)
def test_decisions_agree_with_the_rule_worker_by_worker(
    newcomers: list[Demand],
    max_nodes: int,
    stuck: set[int],
    lock_delay: float,
    home: str | None,
) -> None:
    placed: list[list[Demand]] = []
    for newcomer in map(fresh, newcomers):
        loads = [sum(worker.load for worker in workers) for workers in placed]
        lock_waits = [
            lock_delay * sum(min(1.0, load) for n, load in enumerate(loads) if n != here)
            for here in range(len(placed))
        ]
        feasible = [
            n
            for n, workers in enumerate(placed)
            if n not in stuck and keeps([*workers, newcomer], lock_waits[n])
        ]
        bare = newcomer if newcomer.measured else evolve(newcomer, hold=0.0, load=0.0)
        bearable = [
            n
            for n, workers in enumerate(placed)
            if n not in stuck and keeps([*filter(_measured, workers), bare], lock_waits[n])
        ]
        views = [node(str(n), workers, n in stuck) for n, workers in enumerate(placed)]
        decision = place(newcomer, *views, max_nodes=max_nodes, lock_delay=lock_delay, home=home)
        match decision:
            case Place(node=name):
                target = int(name)
                if feasible:
                    assert target in feasible
                    if home is not None and int(home) in feasible:
                        assert name == home
                    else:
                        assert (loads[target], len(placed[target])) == max(
                            (loads[n], len(placed[n])) for n in feasible
                        )
                else:
                    assert len(placed) == max_nodes
                    assert target in bearable
                    assert loads[target] == min(loads[n] for n in bearable)
                placed[target].append(newcomer)
            case Spawn():
                assert not feasible
                assert len(placed) < max_nodes
                placed.append([newcomer])
            case Refuse():
                assert not feasible
                assert not bearable
                assert len(placed) == max_nodes


def _measured(one: Demand) -> bool:
    return one.measured


@given(newcomer=demands, there=st.lists(demands, max_size=6))
def test_the_same_snapshot_gives_the_same_decision(newcomer: Demand, there: list[Demand]) -> None:
    view = node("a", there)
    assert place(newcomer, view) == place(newcomer, view)


@given(newcomer=demands, there=st.lists(demands, min_size=1, max_size=6))
def test_the_order_of_groups_does_not_matter(newcomer: Demand, there: list[Demand]) -> None:
    view = node("a", there)
    backwards = evolve(view, groups=tuple(reversed(view.groups)))
    assert type(place(newcomer, view)) is type(place(newcomer, backwards))


def test_a_group_of_one() -> None:
    group = Group.of(demand(hold=0.5, load=0.25))
    assert (group.count, group.hold, group.load, group.rush) == (1, 0.5, 0.25, 0.125)
