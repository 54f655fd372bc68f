"""Placing, on made-up snapshots, and against the rule worker by worker."""

from __future__ import annotations

import math

import pytest
from attrs import evolve
from hypothesis import given, settings, target
from hypothesis import strategies as st

from foreman import BestFit, Demand, Group, NodeView, Place, Placement, Refuse, Spawn
from foreman.feasibility import find_obstacle
from foreman.roster import Roster
from foreman.seat import Seat
from tests.foreman.views import demand, demands, find_victims, node, snapshot


def place(
    newcomer: Demand,
    *nodes: NodeView,
    max_nodes: int = 8,
    lock_delay: float = 0.0,
    home: str | None = None,
    avoid: str | None = None,
) -> Placement:
    picture = snapshot(*nodes, max_nodes=max_nodes, lock_delay=lock_delay)
    return BestFit().place(newcomer, picture, home, avoid)


def placed_on(decision: Placement) -> str:
    assert isinstance(decision, Place), decision
    return decision.node


# ---------------------------------------------------------------- best fit


def test_the_first_worker_gets_a_node() -> None:
    assert place(demand()) == Spawn("there is no node yet")


def test_the_fullest_feasible_node_is_taken() -> None:
    quiet = node("quiet", [demand(latency=0.1, hold=0.01, load=0.1)])
    busy = node("busy", [demand(latency=0.1, hold=0.01, load=0.5)])
    full = node("full", [demand(latency=0.1, hold=0.09, load=0.7)])
    newcomer = demand(latency=0.05, hold=0.01, load=0.2)
    assert placed_on(place(newcomer, quiet, full, busy)) == "busy"


def test_of_nodes_with_equal_load_the_one_with_more_workers_is_taken() -> None:
    decision = place(demand(), node("one", [demand()]), node("two", [demand()] * 2))
    assert placed_on(decision) == "two"


def test_the_newcomer_must_not_break_what_its_neighbours_were_promised() -> None:
    decision = place(demand(latency=5.0, hold=0.02), node("strict", [demand(latency=0.01)]))
    assert isinstance(decision, Spawn)
    assert decision.reason.startswith("on strict, Kind declaring 0.01 s might wait 0.02 s")


def test_the_newcomers_own_promise_counts() -> None:
    slow = node("slow", [demand(latency=5.0, hold=0.02)])
    assert isinstance(place(demand(latency=0.01), slow), Spawn)
    assert isinstance(place(demand(latency=0.03), slow), Place)


def test_home_is_preferred_while_it_is_feasible() -> None:
    home, fuller = node("home", [demand()]), node("fuller", [demand(load=0.5)])
    decision = place(demand(), fuller, home, home="home")
    assert decision == Place("home", "stays: every latency there can be kept")
    assert placed_on(place(demand(), fuller, evolve(home, stuck=True), home="home")) == "fuller"


@pytest.mark.parametrize("stuck", [False, True])
def test_a_node_that_is_stuck_or_retiring_takes_nobody(stuck: bool) -> None:
    closed = node("closed", [demand(load=0.5)], stuck=stuck, retiring=not stuck)
    assert placed_on(place(demand(), closed, node("open"))) == "open"
    assert isinstance(place(demand(), closed), Spawn)
    refused = place(demand(), closed, max_nodes=1)
    assert isinstance(refused, Refuse)
    assert ("closed is stuck" in refused.reason) == stuck


def test_the_node_to_leave_is_not_taken() -> None:
    here, there = node("here", [demand()] * 2), node("there", [demand()])
    assert placed_on(place(demand(), here, there, avoid="here")) == "there"
    assert isinstance(place(demand(), here, avoid="here"), Spawn)


def test_what_other_nodes_compute_counts_where_they_share_a_lock() -> None:
    idle, strict = node("idle", [demand(0.02, 1e-4)] * 2), demand(latency=0.003, load=0.1)
    computing = node("computing", [demand(hold=0.01, load=0.75)])
    waiting = node("waiting", [demand(hold=0.01, load=0.75, computing=0.0)])
    assert isinstance(place(strict, idle, computing, lock_delay=0.001), Place)
    assert isinstance(place(strict, idle, computing, lock_delay=0.01), Spawn)
    assert isinstance(place(strict, idle, waiting, lock_delay=0.01), Place)


def test_computing_offenders_share_a_node_where_there_is_one_lock_and_sleeping_ones_do_not() -> (
    None
):
    computing = demand(latency=0.01, hold=0.02, load=0.1)
    sleeping = evolve(computing, computing=0.0)
    two = node("two", [computing, computing])
    assert placed_on(place(computing, two, lock_delay=1e-4)) == "two"
    assert isinstance(place(computing, two), Spawn), "with no lock, two threads compute more"
    assert isinstance(place(sleeping, two, lock_delay=1e-4), Spawn)
    asleep = node("asleep", [sleeping])
    assert isinstance(place(sleeping, asleep, lock_delay=1e-4), Spawn)


# ---------------------------------------------------------------- assumptions and reserved room


def test_a_stranger_is_reckoned_with_by_what_it_declares() -> None:
    assumed = BestFit().assume("app.Kind", 0.1, None)
    assert (assumed.hold, assumed.load, assumed.measured) == (0.025, 1 / 128, False)


def test_strict_and_loose_strangers_start_apart_and_meet_once_known() -> None:
    policy = BestFit()
    loose, strict = policy.assume("loose", 1.0, None), policy.assume("strict", 0.01, None)
    assert isinstance(place(strict, node("a", [loose])), Spawn)
    assert isinstance(place(loose, node("a", [strict])), Spawn)
    harmless = evolve(loose, hold=0.0001, mean=0.0001, load=0.0, measured=True)
    assert isinstance(place(strict, node("a", [harmless])), Place)


def test_what_a_class_has_shown_is_assumed_of_the_next() -> None:
    policy = BestFit()
    shown = demand(hold=0.003, load=0.2, computing=0.25)
    assumed = policy.assume("app.Kind", 2.0, shown)
    assert assumed == evolve(shown, required_latency=2.0, measured=False)
    idle = policy.assume("app.Kind", 1.0, evolve(shown, load=0.0))
    assert idle.load > 0, "room is reserved even for one of an idle class"


@pytest.mark.parametrize("shown", [None, demand(hold=0.02, load=0.0)])
def test_a_burst_of_strangers_is_spread_evenly(shown: Demand | None) -> None:
    """Nobody is refused, and no node gets more than its share of the reserved room."""
    policy = BestFit()
    rosters: dict[str, Roster] = {}
    for _ in range(2000):
        newcomer = policy.assume("app.Kind", 0.1, shown)
        nodes = [NodeView(name=name, groups=there.groups()) for name, there in rosters.items()]
        decision = policy.place(newcomer, snapshot(*nodes, max_nodes=8))
        name = decision.node if isinstance(decision, Place) else f"node-{len(rosters)}"
        assert not isinstance(decision, Refuse)
        if isinstance(decision, Spawn):
            rosters[name] = Roster()
        rosters[name].add(Seat(None, None, newcomer, ""), newcomer)
    counts = [there.count for there in rosters.values()]
    assert sum(counts) == 2000
    if shown is None:
        assert counts == [250] * 8
    else:  # a class that is known to use nothing is not spread for its own sake
        assert max(counts) < 1000


def test_with_one_lock_who_comes_goes_to_those_who_declare_alike() -> None:
    """The fullest node would do, too, but the strict would wait in the queue of the loose there.

    As long as there are nodes to be had, one is spawned for them.
    """
    loose, strict = demand(1.0, 1e-4, 0.02), demand(0.01, 1e-4, 0.001)
    bulk, empty, quick = node("bulk", [loose] * 9), node("empty"), node("quick", [strict] * 9)

    def goes_to(
        newcomer: Demand, *nodes: NodeView, lock_delay: float = 1e-4, max_nodes: int = 8
    ) -> str:
        return placed_on(place(newcomer, *nodes, lock_delay=lock_delay, max_nodes=max_nodes))

    assert goes_to(strict, bulk, quick, empty) == "quick"
    assert goes_to(strict, bulk, empty) == "empty"
    assert goes_to(loose, bulk, quick, empty) == "bulk"
    assert goes_to(loose, quick, empty) == "empty"
    assert goes_to(demand(0.101, 1e-4), bulk, empty) == "bulk", "that is not ten times as much"
    assert goes_to(strict, bulk, quick, empty, lock_delay=0.0) == "bulk", "it is the fullest"
    for newcomer, there in ((strict, bulk), (loose, quick)):
        apart = place(newcomer, there, lock_delay=1e-4, max_nodes=3)
        assert apart == Spawn(
            f"on {there.name}, the strict and those who declare much more would mix"
        )
        last = goes_to(newcomer, there, max_nodes=2)
        assert last == there.name, "the last node is for those who would not be served otherwise"
    assert goes_to(strict, bulk, lock_delay=0.0) == "bulk"
    idle = node("idle", [demand(1.0, 1e-4, 0.01)])
    assert goes_to(strict, bulk, idle, max_nodes=3) == "idle", "if at all, beside who does little"
    patient, slow = demand(0.1, 1e-4), node("slow", [demand(10.0, 1e-4)])
    assert goes_to(patient, slow) == "slow", "a tenth of a second is not strict"


def test_loose_strangers_stay_together_while_somebody_is_much_stricter() -> None:
    """With one lock each node that runs takes it from the strict; the first shall show the rest."""
    policy = BestFit()
    stranger = policy.assume("loose", 1.0, None)
    strict, bulk = node("strict", [demand(latency=0.1)]), node("bulk", [stranger] * 500)
    assert placed_on(place(stranger, strict, bulk, lock_delay=1e-4)) == "bulk"
    assert isinstance(place(stranger, strict, bulk), Spawn), "without a lock they are spread"
    near = node("near", [demand(latency=0.2)])
    assert isinstance(place(stranger, near, bulk, lock_delay=1e-4), Spawn), "none is much stricter"
    slow = node("slow", [stranger] * 500 + [demand(1.0, 0.8, 0.2, "loose")] * 4)
    assert isinstance(place(stranger, strict, slow, lock_delay=1e-4), Spawn), "four are known"
    known = evolve(stranger, stranger=False)
    assert isinstance(place(known, strict, bulk, lock_delay=1e-4), Spawn), "it is no guess"
    medium = policy.assume("loose", 0.2, None)
    apart = place(medium, node("strict", [demand(latency=0.01)]), bulk, lock_delay=1e-4)
    assert isinstance(apart, Spawn), "it would wait for one of the loose ones"


def test_who_comes_is_kept_from_the_strict_where_others_have_room() -> None:
    loose = demand(latency=1.0, load=0.01)
    strict = node("strict", [demand(latency=0.01, load=0.5)])
    roomy = node("roomy", [demand(latency=1.0, load=0.1)])
    assert placed_on(place(loose, strict, roomy)) == "roomy", "though the other one is fuller"
    assert placed_on(place(loose, strict)) == "strict", "rather than a node more"
    assert placed_on(place(demand(latency=0.01), strict, roomy)) == "strict"


# ---------------------------------------------------------------- at the cap


def test_at_the_cap_assumptions_refuse_nobody() -> None:
    policy = BestFit()
    loose, strict = policy.assume("loose", 1.0, None), policy.assume("strict", 0.01, None)
    crowded, roomy = node("crowded", [loose] * 3), node("roomy", [loose] * 2)
    assert placed_on(place(strict, crowded, roomy, max_nodes=2)) == "roomy"


def test_at_the_cap_those_who_break_the_deal_are_squeezed_together() -> None:
    offender = demand(latency=0.01, hold=0.02, load=0.1, computing=0.0)
    kept, offenders = node("kept", [demand(latency=0.01)]), node("offenders", [offender] * 2)
    assert placed_on(place(offender, kept, offenders, max_nodes=2)) == "offenders"


def test_at_the_cap_measured_costs_refuse_who_keeps_the_deal() -> None:
    slow = node("slow", [demand(latency=1.0, hold=0.5)])
    strict = BestFit().assume("strict", 0.01, None)
    decision = place(strict, slow, max_nodes=1)
    assert isinstance(decision, Refuse)
    assert decision.reason.startswith("all 1 nodes are taken; on slow, strict declaring 0.01 s")
    assert isinstance(place(evolve(strict, measured=True), slow, max_nodes=1), Refuse)


def test_at_the_cap_a_measured_cost_is_refused_where_it_would_break_a_promise() -> None:
    strict = node("strict", [demand(latency=0.01)])
    assert isinstance(place(demand(latency=1.0, hold=0.02), strict, max_nodes=1), Refuse)


def test_the_last_free_node_is_kept_for_those_who_keep_the_deal() -> None:
    offender = demand(latency=0.01, hold=0.02, load=0.1, computing=0.0)
    honest = demand(latency=0.01, hold=0.001)
    offenders = node("offenders", [offender] * 2)
    assert isinstance(place(offender, offenders, max_nodes=3), Spawn)
    assert placed_on(place(offender, offenders, max_nodes=2)) == "offenders"
    assert isinstance(place(honest, offenders, max_nodes=2), Spawn)


def test_the_last_free_node_is_spent_on_an_offender_rather_than_a_promise() -> None:
    offender = demand(latency=0.01, hold=0.02, load=0.1)
    decision = place(offender, node("strict", [demand(latency=0.01)]), max_nodes=2)
    assert isinstance(decision, Spawn)


# ---------------------------------------------------------------- against the rule, naively


def _place_all(
    newcomers: list[Demand], max_nodes: int, stuck: set[int], lock_delay: float, home: str | None
) -> None:
    policy = BestFit()
    placed: list[list[Demand]] = []
    for newcomer in newcomers:
        views = [node(str(n), workers, stuck=n in stuck) for n, workers in enumerate(placed)]
        picture = snapshot(*views, max_nodes=max_nodes, lock_delay=lock_delay)
        rules = [policy.conditions(view, picture) for view in views]
        open_nodes = [n for n in range(len(placed)) if n not in stuck]
        feasible = [n for n in open_nodes if not find_victims([*placed[n], newcomer], rules[n])]
        bare = newcomer if newcomer.measured else evolve(newcomer, hold=0.0, mean=0.0, load=0.0)
        bearable = [
            n
            for n in open_nodes
            if not find_victims(
                [*(one for one in placed[n] if one.measured), bare], evolve(rules[n], excused=True)
            )
        ]
        promised = [
            min((w.required_latency for w in workers if not _offends(w)), default=math.inf)
            for workers in placed
        ]
        strangers = [
            n
            for n in open_nodes
            if newcomer.stranger
            and lock_delay
            and 10 * min(promised) <= newcomer.required_latency <= promised[n]
            and all(one.hold <= newcomer.required_latency for one in placed[n])
            and any(one.kind == newcomer.kind and not one.measured for one in placed[n])
            and not find_victims([*(one for one in placed[n] if one.measured), bare], rules[n])
        ]
        free = max_nodes - len(placed)
        offends = _offends(newcomer)
        lock = lock_delay > 0
        mixing = [n for n in feasible if lock and _would_mix(newcomer, promised[n], placed[n])]
        alike = [n for n in feasible if n not in mixing]
        match policy.place(newcomer, picture, home):
            case Place(node=name):
                here = int(name)
                if home is not None and int(home) in feasible:
                    assert name == home
                elif alike or (mixing and not strangers):
                    assert alike or free <= 1
                    offered = alike or mixing
                    last = {n: promised[n] < newcomer.required_latency for n in offered}
                    first = [n for n in offered if not last[n]] or offered
                    assert here in first
                    if alike:
                        fullest = max((views[n].load, views[n].count) for n in first)
                        assert (views[here].load, views[here].count) == fullest
                    else:
                        assert views[here].load == min(views[n].load for n in first)
                elif strangers:
                    assert here in strangers
                else:
                    assert free == 0 or (free == 1 and offends)
                    assert here in bearable
                    assert views[here].load == min(views[n].load for n in bearable)
                placed[here].append(newcomer)
            case Spawn():
                assert not alike
                assert not mixing or free > 1
                assert not strangers
                assert free > 1 or (free == 1 and not (offends and bearable))
                placed.append([newcomer])
            case Refuse():
                assert not feasible
                assert not strangers
                assert not bearable
                assert free == 0


def _would_mix(newcomer: Demand, promised: float, workers: list[Demand]) -> bool:
    """Whether somebody declares ten times as much as a strict one, of these and the newcomer."""
    latencies = [worker.required_latency for worker in (newcomer, *workers)]
    strictest = promised if _offends(newcomer) else min(promised, newcomer.required_latency)
    return strictest < 0.1 and max(latencies) >= 10 * strictest


def _offends(worker: Demand) -> bool:
    return worker.measured and worker.hold > worker.required_latency


@settings(deadline=None)
@given(
    newcomers=st.lists(demands, max_size=16),
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
    _place_all(newcomers, max_nodes, stuck, lock_delay, home)


@settings(deadline=None, max_examples=150)
@given(there=st.lists(demands, max_size=6), newcomer=demands, bursty=st.booleans())
def test_a_node_is_passed_over_only_for_an_obstacle(
    there: list[Demand], newcomer: Demand, bursty: bool
) -> None:
    """A glance at sums may save the search for one; it must never say more than the search."""
    view, group = node("a", there, bursty=bursty), Group.of(newcomer)
    target(min(view.load + newcomer.load, 2.0), label="load")
    conditions = BestFit().conditions(view, snapshot(view))
    obstacle = find_obstacle((*view.groups, group), conditions)
    assert isinstance(place(newcomer, view), Place) == (obstacle is None)


# ---------------------------------------------------------------- its parameters


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, math.nan])
@pytest.mark.parametrize("name", ["assumed_hold", "assumed_load", "full", "margin"])
def test_shares_must_be_shares(name: str, share: float) -> None:
    with pytest.raises(ValueError, match=name):
        evolve(BestFit(), **{name: share})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["period", "patience", "most_patience", "misses"])
def test_times_and_counts_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        evolve(BestFit(), **{name: 0})
