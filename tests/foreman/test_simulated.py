"""What comes of the rules over time: offenders, stuck nodes, bursts, calm; and that all settles."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foreman import BestFit, Infeasible
from tests.foreman.simulation import SimNode, Simulation, SimWorker

ONE_LOCK = 1e-4  # seconds: a tuned interpreter's switch interval


def add_strict(sim: Simulation, count: int = 20, kind: str = "app.Kind") -> list[SimWorker]:
    return [sim.add(kind, 0.01, 0.0005, 0.005) for _ in range(count)]


def add_offenders(sim: Simulation, count: int, computing: float) -> list[SimWorker]:
    """They declare what the strict ones do, and take 20 ms ten times a second."""
    return [sim.add("app.Kind", 0.01, 0.02, 0.2, computing=computing) for _ in range(count)]


def parties(sim: Simulation, *workers: list[SimWorker]) -> list[set[SimNode]]:
    """The nodes that each of these are on."""
    return [{worker.node for worker in some} for some in workers]


# ---------------------------------------------------------------- offenders


def test_computing_offenders_end_up_on_one_node_where_there_is_one_lock() -> None:
    sim = Simulation(lock_delay=ONE_LOCK)
    strict, offenders = add_strict(sim), add_offenders(sim, 4, computing=1.0)
    sim.advance(2)
    theirs, others = parties(sim, strict, offenders)
    assert len(others) == 1
    assert not theirs & others
    sim.advance(58)
    assert parties(sim, strict, offenders)[1] == others
    assert len(sim.nodes) == 2


@pytest.mark.parametrize(("computing", "lock_delay"), [(1.0, 0.0), (0.0, 0.0), (0.0, ONE_LOCK)])
def test_other_offenders_get_nodes_of_their_own(computing: float, lock_delay: float) -> None:
    sim = Simulation(lock_delay=lock_delay)
    strict, offenders = add_strict(sim), add_offenders(sim, 4, computing)
    sim.advance(2)
    theirs, others = parties(sim, strict, offenders)
    assert len(others) == 4
    assert not theirs & others
    moves = sim.count("move")
    sim.advance(58)
    assert sim.count("move", since=10) == 0 or sim.count("move") - moves <= len(strict)
    assert len(parties(sim, offenders)[0]) == 4


def test_where_nodes_are_scarce_offenders_share_and_the_others_are_kept_apart() -> None:
    sim = Simulation(max_nodes=4, lock_delay=ONE_LOCK)
    strict, offenders = add_strict(sim), add_offenders(sim, 8, computing=0.0)
    sim.advance(60)
    theirs, others = parties(sim, strict, offenders)
    assert not theirs & others
    assert len(sim.nodes) == 3, "one is kept for those who keep the deal"
    late = sim.add("app.Late", 0.001, 0.0001, 0.001)
    sim.advance(5)
    assert late.node not in others


def test_an_offender_that_cannot_leave_is_left() -> None:
    sim = Simulation()
    strict = add_strict(sim)
    offender = sim.add("app.Kind", 0.01, 0.02, 0.2, movable=False)
    home = offender.node
    assert strict[0].node is home
    sim.advance(2)
    assert offender.node is home
    assert home not in parties(sim, strict)[0]
    assert sim.count("move") == len(strict)
    sim.advance(58)
    assert sim.count("move") == len(strict)


def test_who_begins_to_offend_long_after_is_moved_then() -> None:
    sim = Simulation()
    strict = add_strict(sim)
    sim.advance(60)
    assert len(sim.nodes) == 1
    strict[3].hold = strict[3].mean = 0.05
    strict[3].load = 0.2
    sim.advance(2)
    assert [one for one in strict if one.node is strict[3].node] == [strict[3]]
    assert sim.count("move", since=59) == 1


def test_who_declares_less_gets_it_at_once() -> None:
    sim = Simulation()
    slow = [sim.add("app.Slow", 1.0, 0.05, 0.05) for _ in range(4)]
    hurried = sim.add("app.Slow", 1.0, 0.0005, 0.005)
    sim.advance(20)
    assert hurried.node is slow[0].node
    sim.require(hurried, 0.01)
    assert hurried.node not in parties(sim, slow)[0]
    sim.advance(60)
    assert hurried.node not in parties(sim, slow)[0]


def test_patience_doubles_when_pardoned_offenders_offend_again() -> None:
    """It works for 5 s and rests until it was merged, again and again."""
    sim = Simulation()
    add_strict(sim, 4)
    (offender,) = add_offenders(sim, 1, computing=1.0)
    patience: list[float] = []
    for _ in range(4):
        offender.load = 0.2
        sim.advance(5)
        assert len(sim.nodes) == 2
        offender.load = 0.0
        since = sim.now
        while len(sim.nodes) == 2:
            sim.advance(1)
            assert sim.now < since + 600
        patience.append(sim.now - since)
    for before, after in pairwise(patience):
        assert after > 1.5 * before


# ---------------------------------------------------------------- stuck nodes


def test_a_stuck_node_is_replaced_once() -> None:
    sim = Simulation()
    strict = add_strict(sim)
    sim.advance(20)
    (stuck,) = sim.nodes
    sim.stick(stuck)
    sim.advance(120)
    assert sim.count("spawn", since=1) == 1
    assert sim.count("retire") == sim.count("relocate") == 0
    newcomer = sim.add("app.Kind", 0.01, 0.0005, 0.005)
    assert newcomer.node is not stuck
    sim.stick(stuck, False)
    sim.advance(30)
    assert len(sim.nodes) == 1
    assert parties(sim, strict, [newcomer]) == [set(sim.nodes)] * 2


def test_at_the_cap_a_stuck_node_is_not_replaced() -> None:
    sim = Simulation(max_nodes=1)
    add_strict(sim)
    sim.stick(sim.nodes[0])
    sim.advance(10)
    assert len(sim.nodes) == 1
    with pytest.raises(Infeasible, match="node-1 is stuck"):
        sim.add()


def test_the_offender_goes_when_its_node_has_come_round() -> None:
    sim = Simulation()
    strict = add_strict(sim)
    sim.advance(20)
    sim.stick(strict[0].node)
    sim.advance(3)
    sim.stick(strict[0].node, False)
    strict[0].hold = strict[0].mean = 3.0
    strict[0].due = 1.0  # it has run once when the next window is closed
    sim.advance(2)
    assert [one for one in strict if one.node is strict[0].node] == [strict[0]]
    assert sim.count("move") == 1


# ---------------------------------------------------------------- calm


@pytest.mark.parametrize("end", ["they rest", "they leave", "they never ran"])
def test_an_idle_server_is_back_at_its_minimum(end: str) -> None:
    sim = Simulation()
    load = 0.0 if end == "they never ran" else 0.0005
    workers = [sim.add("app.Kind", 0.1, 0.0002, load) for _ in range(800)]
    assert len(sim.nodes) == 8
    if load:
        sim.advance(6)
    for worker in workers:
        worker.load = 0.0
        if end == "they leave":
            sim.remove(worker)
    sim.advance(30)
    assert len(sim.nodes) == 1
    assert sim.count("call off") == 0


def test_a_few_misses_are_not_held_against_anybody() -> None:
    """Garbage collection, or another process: once an hour it happens everywhere."""
    sim = Simulation()
    add_strict(sim)
    for _ in range(20):
        sim.advance(30)
        sim.ledger.was_late(sim.nodes[0], sim.now)
    assert sim.count("move") == 0


def test_who_becomes_ready_together_is_spread_and_stays_spread() -> None:
    sim = Simulation(together=True)
    crowd = [sim.add("app.Kind", 0.01, 0.002, 0.008) for _ in range(12)]
    sim.advance(30)
    for node in sim.nodes:
        assert sum(worker.hold for worker in sim.members(node)) <= 0.012
    moves = sim.count("move")
    sim.advance(300)
    assert len(parties(sim, crowd)[0]) >= 3
    assert sim.count("move") == moves


# ---------------------------------------------------------------- it settles

PERIOD = BestFit().period

# Each runs at least twice a second, or never, so that its load can be told from one window.
workers = st.tuples(
    st.sampled_from(["app.A", "app.B"]),
    st.sampled_from([0.01, 0.1, 1.0]),
    st.sampled_from([0.0001, 0.001, 0.005, 0.02, 0.2]),
    st.sampled_from([0.0, 2.0, 10.0, 50.0]),
    st.sampled_from([0.0, 1.0]),
    st.integers(0, 19).map(bool),
)
populations = st.lists(workers, min_size=1, max_size=24)


def populate(
    sim: Simulation,
    population: list[tuple[str, float, float, float, float, bool]],
    jitter: float = 0.0,
) -> None:
    for kind, latency, hold, rate, computing, movable in population:
        load = min(0.9, rate * hold)
        try:
            sim.add(kind, latency, hold, load, computing=computing, movable=movable, jitter=jitter)
        except Infeasible:
            assert len(sim.nodes) == sim.max_nodes, "nobody is refused below the cap"


def check_spacing(sim: Simulation) -> None:
    """A node that was acted on is left alone for a while."""
    acted = defaultdict(set)
    for one in sim.log:
        if one.what in ("relocate", "retire"):
            acted[one.node].add(one.now)
    for times in acted.values():
        ordered = sorted(times)
        assert all(b - a >= PERIOD for a, b in pairwise(ordered))


@settings(max_examples=25, deadline=None)
@given(
    population=populations,
    max_nodes=st.sampled_from([2, 4, 8]),
    lock_delay=st.sampled_from([0.0, ONE_LOCK, 0.005]),
)
@example(  # one that has left a node is not what that remembers
    population=[
        ("app.A", 0.01, 0.0001, 0.0, 0.0, False),
        ("app.A", 0.01, 0.0001, 2.0, 0.0, False),
        ("app.A", 0.01, 0.02, 50.0, 0.0, True),
        ("app.A", 0.1, 0.0001, 0.0, 0.0, True),
        ("app.A", 1.0, 0.0001, 2.0, 0.0, True),
    ],
    max_nodes=4,
    lock_delay=0.0,
)
def test_under_constant_costs_it_becomes_quiet_and_stays_quiet(
    population: list[tuple[str, float, float, float, float, bool]],
    max_nodes: int,
    lock_delay: float,
) -> None:
    sim = Simulation(max_nodes=max_nodes, lock_delay=lock_delay)
    populate(sim, population)
    sim.advance(60)
    assert sim.count("relocate") + sim.count("retire") <= 4 * (len(sim.workers) + max_nodes)
    done = len(sim.log)
    sim.advance(60)
    assert sim.log[done:] == []
    check_spacing(sim)


@settings(max_examples=10, deadline=None)
@given(
    population=populations,
    max_nodes=st.sampled_from([3, 8]),
    lock_delay=st.sampled_from([0.0, ONE_LOCK]),
    seed=st.integers(0, 1000),
)
@example(  # merged a moment before they were busy again
    population=[
        ("app.A", 0.01, 0.0001, 0.0, 0.0, False),
        ("app.A", 1.0, 0.0001, 2.0, 0.0, False),
        ("app.A", 0.1, 0.2, 2.0, 0.0, True),
    ],
    max_nodes=8,
    lock_delay=0.0,
    seed=323,
)
@example(
    population=[
        ("app.A", 0.01, 0.0001, 0.0, 0.0, False),
        ("app.A", 0.1, 0.0001, 2.0, 0.0, False),
        ("app.A", 0.1, 0.005, 50.0, 0.0, True),
    ],
    max_nodes=8,
    lock_delay=0.0,
    seed=294,
)
def test_costs_that_vary_and_peaks_that_come_and_go_make_nothing_swing(
    population: list[tuple[str, float, float, float, float, bool]],
    max_nodes: int,
    lock_delay: float,
    seed: int,
) -> None:
    random = Random(seed)
    sim = Simulation(max_nodes=max_nodes, lock_delay=lock_delay)
    populate(sim, population, jitter=0.3)
    peaks = [
        (worker, worker.load, random.choice([5, 10, 20]), random.choice([2, 4]))
        for worker in sim.workers
        if random.random() < 0.2
    ]
    for second in range(120):
        for worker, load, length, height in peaks:
            worker.load = min(0.9, height * load) if second // length % 2 else load
        sim.advance(1)
    # Merging waits for ten seconds of calm; then it moves everybody of a node, in the first minute.
    assert sim.count("move", since=60) < 2
    check_spacing(sim)
