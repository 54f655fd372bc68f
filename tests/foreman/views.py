"""Made-up demands, nodes and snapshots, and the rule of feasibility written out a second time."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from hypothesis import strategies as st

from foreman import Demand, NodeView, Snapshot
from foreman.feasibility import Conditions
from foreman.roster import Roster
from foreman.seat import Seat


def demand(
    latency: float = 1.0,
    hold: float = 0.0,
    load: float = 0.0,
    kind: str = "app.Kind",
    *,
    mean: float | None = None,
    computing: float = 1.0,
    measured: bool = True,
    movable: bool = True,
) -> Demand:
    return Demand(
        kind=kind,
        required_latency=latency,
        hold=hold,
        mean=hold if mean is None else mean,
        load=load,
        computing=computing,
        measured=measured,
        movable=movable,
    )


def roster(demands: Sequence[Demand]) -> Roster:
    there = Roster()
    for one in demands:
        there.add(Seat(None, None, one, ""), one)
    return there


def node(
    name: str,
    demands: Sequence[Demand] = (),
    *,
    stuck: bool = False,
    retiring: bool = False,
    late: int = 0,
    bursty: bool = False,
    busiest: float = 0.0,
    calm: float = 60.0,
    settled: float = 60.0,
) -> NodeView:
    return NodeView(
        name=name,
        groups=roster(demands).groups(),
        stuck=stuck,
        retiring=retiring,
        late=late,
        bursty=bursty,
        busiest=busiest,
        calm=calm,
        settled=settled,
    )


def snapshot(
    *nodes: NodeView, max_nodes: int = 8, lock_delay: float = 0.0, relapses: int = 0
) -> Snapshot:
    nodes = tuple(sorted(nodes, key=lambda node: (node.load, node.count), reverse=True))
    return Snapshot(nodes=nodes, max_nodes=max_nodes, lock_delay=lock_delay, relapses=relapses)


# Binary fractions, so that sums in any order are exact; holds a magnitude apart, with the mean
# following from the hold, so that workers counted together are alike.
latencies = st.integers(1, 64).map(lambda n: n / 64)
holds = st.just(0.0) | st.integers(0, 5).map(lambda n: 4.0 ** (n - 6))
demands = st.builds(
    lambda latency, hold, load, kind, computing, measured: evolve(
        demand(latency, hold, load, kind, mean=hold / 2, computing=computing, measured=measured),
        stranger=kind == "app.A" and not measured,
    ),
    latencies,
    holds,
    st.integers(0, 16).map(lambda n: n / 32),
    st.sampled_from(["app.A", "app.B"]),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
)


def find_victims(workers: Sequence[Demand], conditions: Conditions) -> list[Demand]:
    """Who would have to wait longer than promised: the rule's docstrings, worker by worker."""
    load = sum(worker.load for worker in workers)
    in_turn = sum(worker.mean for worker in workers)
    queue = in_turn
    if load <= conditions.full and not conditions.bursty:
        queue = sum(worker.load * worker.mean for worker in workers) / (1 - load)
    computing_only = all(worker.computing >= 0.5 for worker in workers)
    computing = sum(worker.load * worker.computing for worker in workers)
    another_helps = not (conditions.one_lock and computing > load / 2)
    if load > conditions.full and len(workers) > 1 and another_helps and not conditions.excused:
        return list(workers)
    victims = []
    for here, worker in enumerate(workers):
        others = [*workers[:here], *workers[here + 1 :]]
        longest = max((other.hold for other in others), default=0.0)
        behind_all = sum(other.mean for other in others)
        wait = longest + min(queue, behind_all) + conditions.lock_wait
        offends = worker.measured and worker.hold > worker.required_latency
        if offends and (conditions.excused or (conditions.one_lock and computing_only)):
            continue
        if others and behind_all and wait > conditions.margin * worker.required_latency:
            victims.append(worker)
    return victims
