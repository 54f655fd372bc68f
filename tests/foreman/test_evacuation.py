"""Nodes that are emptied: who leaves, how many at a time, and what may come between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from foreman import BestFit, Demand, Foreman, Node, NotMovable
from foreman.decisions import Place, Placement, Relocate, Retire
from foreman.demand import Snapshot
from foreman.evacuation import AT_ONCE, AT_ONCE_IN_NEED, COST, SHARE_OF_TIME, Evacuation
from foreman.evacuations import LEAST_IDLE
from foreman.events import Moved, Retired, Stayed
from foreman.latency import round_down
from foreman.ledger import BELIEVED_AFTER, Cost
from tests.foreman.conftest import (
    PATIENCE,
    Heard,
    MakeForeman,
    Probe,
    Reluctant,
    Told,
    until,
)
from tests.foreman.simulation import SimNode
from tests.foreman.views import demand


@pytest.fixture
def policy() -> Told:
    return Told()


@pytest.fixture
def foreman(make_foreman: MakeForeman, policy: Told, heard: Heard) -> Iterator[Foreman]:
    foreman = make_foreman(policy=policy, on_event=heard)
    yield foreman
    foreman.stop()
    leaves_nothing(foreman)


def leaves_nothing(foreman: Foreman) -> None:
    """Once everybody has gone, nothing is kept of anybody."""
    dispatcher = foreman._dispatcher
    assert not dispatcher._evacuations
    seating = dispatcher._seating
    until(lambda: not seating.bound)
    assert seating.pool._dismissed == []
    assert seating.pool._spare is None


def settle(foreman: Foreman, node: Node, workers: list[Reluctant]) -> None:
    """Have them run on that node."""
    for worker in workers:
        foreman.add(worker)
    for worker in workers:
        assert foreman.move(worker, node).result(PATIENCE)
    for worker in workers:
        worker.arriving.clear()
        worker.leaving.clear()


def retired(foreman: Foreman, heard: Heard, node: Node) -> None:
    """It ends, thread and all, and that is told once."""

    def ended() -> bool:
        foreman._dispatcher.review()
        return node not in foreman.nodes and not node._thread.is_alive()

    until(ended)
    heard.wait_for(Retired)
    assert [event.node for event in heard.all(Retired)] == [node]


def lives_on(foreman: Foreman, node: Node) -> None:
    """It takes workers, and keeps them."""
    foreman._dispatcher.review()
    assert node in foreman.nodes
    assert not foreman._dispatcher._seating.ledger.is_retiring(node)
    late = Probe()
    foreman.add(late)
    assert foreman.move(late, node).result(PATIENCE)
    foreman.remove(late).result(PATIENCE)


def went_well(foreman: Foreman, *workers: Probe) -> None:
    for worker in workers:
        worked = threading.Event()
        worker.call_soon(worked.set)
        assert worked.wait(PATIENCE)
        foreman.remove(worker).result(PATIENCE)
        assert worker.log == ["start", "stop"]
        assert worker.wrong == []


@pytest.fixture
def shelter(foreman: Foreman) -> Node:
    """A node that those who have to leave another find feasible, and fuller than any."""
    return foreman.spawn("a shelter")


@pytest.fixture
def home(foreman: Foreman, shelter: Node) -> Node:
    """The node that is to be emptied."""
    return foreman.spawn("a home")


# ---------------------------------------------------------------- retiring


def test_everybody_leaves_and_the_node_ends(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node
) -> None:
    workers = [Reluctant() for _ in range(3 * AT_ONCE)]
    settle(foreman, home, workers)
    policy.order(foreman, Retire(home.name, "the test wants it"))
    retired(foreman, heard, home)
    assert {worker.node for worker in workers} == {shelter}
    moved = [event for event in heard.all(Moved) if event.old is home]
    assert {event.reason for event in moved} == {"the test wants it"}
    assert len(moved) == len(workers)
    went_well(foreman, *workers)


def test_who_leaves_is_no_stranger_once_another_of_its_class_has_run(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node
) -> None:
    worker, other = Reluctant(), Reluctant()
    settle(foreman, home, [worker, other])
    seat = worker._seat
    assert seat is not None
    assert seat.demand.stranger
    with foreman._dispatcher.lock:
        shown = Cost(runs=BELIEVED_AFTER, hold=1e-4, mean=1e-4, load=0.0)
        assert other._seat is not None
        foreman._dispatcher._seating.ledger.learn([(other._seat, shown)])
        assert seat.demand.stranger, "nothing was learned of it itself"
    policy.placed.clear()
    policy.order(foreman, Retire(home.name, "the test wants it"))
    retired(foreman, heard, home)
    assert policy.placed
    assert not any(demand.stranger for demand in policy.placed)
    went_well(foreman, worker, other)


@pytest.mark.parametrize("step", ["leaving", "arriving"])
def test_nobody_new_comes_while_it_retires(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node, step: str
) -> None:
    worker, late = Reluctant(), Probe()
    settle(foreman, home, [worker])
    gate = worker.may_leave if step == "leaving" else worker.may_arrive
    gate.clear()
    policy.order(foreman, Retire(home.name, "the test wants it"))
    assert getattr(worker, step).wait(PATIENCE)
    assert foreman.add(late) is shelter
    foreman._dispatcher.review()
    assert home.workers == ()
    assert home in foreman.nodes, "while somebody is on the way"
    gate.set()
    retired(foreman, heard, home)
    went_well(foreman, worker, late)


@pytest.mark.parametrize("step", ["leaving", "arriving"])
def test_removed_on_the_way(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node, step: str
) -> None:
    worker, other = Reluctant(), Reluctant()
    settle(foreman, home, [worker, other])
    gate = worker.may_leave if step == "leaving" else worker.may_arrive
    gate.clear()
    policy.order(foreman, Retire(home.name, "the test wants it"))
    assert getattr(worker, step).wait(PATIENCE)
    gone = foreman.remove(worker)
    gate.set()
    gone.result(PATIENCE)
    assert worker.log == ["start", "stop"]
    assert worker.wrong == []
    retired(foreman, heard, home)
    went_well(foreman, other)


def test_removed_while_it_waits_for_its_turn(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node
) -> None:
    workers = [Reluctant() for _ in range(AT_ONCE + 2)]
    settle(foreman, home, workers)
    for worker in workers:
        worker.may_leave.clear()
    policy.order(foreman, Retire(home.name, "the test wants it"))
    until(lambda: sum(worker.leaving.is_set() for worker in workers) == AT_ONCE)
    waiting = [worker for worker in workers if not worker.leaving.is_set()]
    for worker in waiting:
        foreman.remove(worker).result(PATIENCE)
        assert worker.log == ["start", "stop"]
        assert not worker.leaving.is_set()
    for worker in workers:
        worker.may_leave.set()
    retired(foreman, heard, home)
    went_well(foreman, *(worker for worker in workers if worker not in waiting))


@pytest.mark.parametrize("step", ["leaving", "arriving"])
def test_a_move_to_it_calls_it_off(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node, step: str
) -> None:
    workers, guest = [Reluctant() for _ in range(AT_ONCE + 3)], Probe()
    settle(foreman, home, workers)
    assert foreman.add(guest) is home
    assert foreman.move(guest, shelter).result(PATIENCE)
    for worker in workers:
        (worker.may_leave if step == "leaving" else worker.may_arrive).clear()
    policy.order(foreman, Retire(home.name, "the test wants it"))
    until(lambda: sum(getattr(worker, step).is_set() for worker in workers) == AT_ONCE)
    assert foreman.move(guest, home).result(PATIENCE)
    for worker in workers:
        worker.may_leave.set()
        worker.may_arrive.set()
    until(lambda: len(shelter.workers) == AT_ONCE and not foreman._dispatcher._evacuations)
    until(lambda: not any(worker._seat and worker._seat.in_transit for worker in workers))
    lives_on(foreman, home)
    assert len(home.workers) == 3 + 1, "nobody else needs to leave"
    assert not heard.all(Retired)
    went_well(foreman, *workers, guest)


def test_one_that_is_on_its_way_there_calls_it_off(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node
) -> None:
    worker, guest = Reluctant(), Reluctant()
    settle(foreman, home, [worker])
    settle(foreman, shelter, [guest])
    guest.may_arrive.clear()
    arrived = foreman.move(guest, home)
    assert guest.arriving.wait(PATIENCE)
    policy.order(foreman, Retire(home.name, "the test wants it"))
    until(lambda: worker.node is shelter and worker._seat and not worker._seat.in_transit)
    guest.may_arrive.set()
    assert arrived.result(PATIENCE)
    lives_on(foreman, home)
    assert not heard.all(Retired)
    went_well(foreman, worker, guest)


def test_one_that_passes_through_is_waited_for(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node
) -> None:
    """It counts elsewhere already, but still has to get to the node and away from it."""
    worker, elsewhere = Reluctant(), foreman.spawn()
    settle(foreman, shelter, [worker])
    worker.may_arrive.clear()
    there = foreman.move(worker, home)
    assert worker.arriving.wait(PATIENCE)
    onwards = foreman.move(worker, elsewhere)
    policy.order(foreman, Retire(home.name, "the test wants it"))
    for _ in range(3):
        foreman._dispatcher.review()
        assert home in foreman.nodes
    worker.may_arrive.set()
    assert onwards.result(PATIENCE) is True
    assert there.result(PATIENCE) is False
    retired(foreman, heard, home)
    went_well(foreman, worker)


# ---------------------------------------------------------------- those who cannot leave


@pytest.mark.parametrize("why", ["NotMovable", "too slow"])
def test_one_that_cannot_leave_calls_it_off(
    make_foreman: MakeForeman, heard: Heard, why: str
) -> None:
    policy = Told()
    foreman = make_foreman(policy=policy, on_event=heard, move_timeout=0.05)
    foreman.spawn()
    home = foreman.spawn()
    others, worker = [Reluctant() for _ in range(AT_ONCE - 1)], Reluctant()
    waiting = [Reluctant() for _ in range(3)]
    settle(foreman, home, [*others, worker, *waiting])
    if why == "NotMovable":
        worker.detach_error = NotMovable("it is busy")
    else:
        worker.may_leave.clear()
    policy.order(foreman, Retire(home.name, "the test wants it"))
    (stayed,) = heard.wait_for(Stayed)
    assert (stayed.worker, stayed.node) == (worker, home)
    busy = "it is busy" if why == "NotMovable" else f"it had not let go of {home.name} after 0.05 s"
    assert stayed.reason == f"stayed: {busy}"
    until(lambda: not foreman._dispatcher._evacuations)
    lives_on(foreman, home)
    assert not heard.all(Retired)
    assert worker.node is home
    worker.may_leave.set()
    worker.detach_error = None
    went_well(foreman, worker, *others, *waiting)
    foreman.stop()
    leaves_nothing(foreman)


def test_a_node_nobody_can_be_taken_from_lives_on(make_foreman: MakeForeman, heard: Heard) -> None:
    """A merge is not to cost another node."""
    policy = Told()
    foreman = make_foreman(policy=policy, on_event=heard)
    loose = Reluctant(1.0)
    foreman.add(loose)
    strict = Reluctant(0.01)
    home = foreman.add(strict)
    assert home is not loose.node
    assert strict.started.wait(PATIENCE)
    policy.order(foreman, Retire(home.name, "a policy that errs"))
    until(lambda: not foreman._dispatcher._evacuations)
    lives_on(foreman, home)
    assert strict.node is home
    assert not heard.all(Retired)
    assert not strict.leaving.is_set()
    went_well(foreman, loose, strict)


def relocate(node: Node, count: int | None = None) -> Callable[[Snapshot], list[Relocate]]:
    """An order to move so many of one group away; None means all there are on the node."""

    def order(snapshot: Snapshot) -> list[Relocate]:
        (view,) = (view for view in snapshot.nodes if view.name == node.name)
        if count is not None:
            return [Relocate(node.name, view.groups[0], count, "as told")]
        return [Relocate(node.name, group, group.count, "as told") for group in view.groups]

    return order


def test_those_for_whom_there_is_no_place_stay(make_foreman: MakeForeman, heard: Heard) -> None:
    policy = Told()
    foreman = make_foreman(policy=policy, on_event=heard, max_nodes=1)
    worker = Reluctant()
    node = foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    policy.order(foreman, relocate(node))
    until(lambda: not policy.orders and not foreman._dispatcher._evacuations)
    lives_on(foreman, node)
    assert worker.node is node
    assert not worker.leaving.is_set()
    went_well(foreman, worker)
    assert not heard.all(Moved)


class Clinging(Told):
    """Sends those who are to leave a node to that same node."""

    def place(
        self, demand: Demand, snapshot: Snapshot, home: str | None = None, avoid: str | None = None
    ) -> Placement:
        if avoid is not None:
            return Place(avoid, "where it is")
        return super().place(demand, snapshot, home, avoid)


@pytest.mark.parametrize("retires", [True, False])
def test_a_policy_that_sends_them_where_they_are_moves_nobody(
    make_foreman: MakeForeman, heard: Heard, retires: bool
) -> None:
    policy = Clinging()
    foreman = make_foreman(policy=policy, on_event=heard)
    foreman.spawn()
    home, workers = foreman.spawn(), [Reluctant() for _ in range(3)]
    settle(foreman, home, workers)
    moved = len(heard.all(Moved))
    policy.order(foreman, Retire(home.name, "as told") if retires else relocate(home))
    until(lambda: not policy.orders and not foreman._dispatcher._evacuations)
    assert {worker.node for worker in workers} == {home}
    assert not any(worker.leaving.is_set() for worker in workers)
    assert len(heard.all(Moved)) == moved
    went_well(foreman, *workers)
    lives_on(foreman, home)
    assert not heard.all(Retired)


# ---------------------------------------------------------------- what comes between


@pytest.mark.parametrize("step", ["leaving", "arriving"])
def test_declared_anew_twice_on_the_way(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node, step: str
) -> None:
    worker = Reluctant()
    settle(foreman, home, [worker])
    gate = worker.may_leave if step == "leaving" else worker.may_arrive
    gate.clear()
    policy.order(foreman, Retire(home.name, "the test wants it"))
    assert getattr(worker, step).wait(PATIENCE)
    worker.required_latency = 0.01
    worker.required_latency = 0.3
    gate.set()
    retired(foreman, heard, home)
    assert worker.required_latency == 0.3
    assert worker.node is not None
    assert list(worker.node.roster.latencies) == [0.3]
    went_well(foreman, worker)


def test_a_node_that_some_are_leaving_may_be_retired(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node
) -> None:
    """Those who are on their way are waited for, and the others leave as well."""
    workers = [Reluctant() for _ in range(3)]
    settle(foreman, home, workers)
    for worker in workers:
        worker.may_leave.clear()
    policy.order(foreman, relocate(home, 1))
    until(lambda: any(worker.leaving.is_set() for worker in workers))
    policy.order(foreman, Retire(home.name, "the test wants it"))
    until(lambda: all(worker.leaving.is_set() for worker in workers))
    assert home in foreman.nodes
    for worker in workers:
        worker.may_leave.set()
    retired(foreman, heard, home)
    assert home not in {worker.node for worker in workers}
    went_well(foreman, *workers)


def test_a_retiring_node_that_is_to_be_relieved_goes_on(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node
) -> None:
    """What is to be done about broken promises comes first: only those it names leave."""
    workers = [Reluctant() for _ in range(AT_ONCE + 3)]
    settle(foreman, home, workers)
    for worker in workers:
        worker.may_leave.clear()
    policy.order(foreman, Retire(home.name, "the test wants it"))
    until(lambda: sum(worker.leaving.is_set() for worker in workers) == AT_ONCE)
    policy.order(foreman, relocate(home, 1))
    until(lambda: sum(worker.leaving.is_set() for worker in workers) == AT_ONCE + 1)
    for worker in workers:
        worker.may_leave.set()
    until(lambda: not foreman._dispatcher._evacuations)
    until(lambda: sum(settled_elsewhere(worker, home) for worker in workers) == AT_ONCE + 1)
    lives_on(foreman, home)
    assert len(home.workers) == 2
    assert not heard.all(Retired)
    went_well(foreman, *workers)


@pytest.mark.parametrize("step", ["leaving", "arriving"])
def test_moved_by_the_user_on_the_way(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node, step: str
) -> None:
    worker, elsewhere = Reluctant(), foreman.spawn()
    settle(foreman, home, [worker])
    gate = worker.may_leave if step == "leaving" else worker.may_arrive
    gate.clear()
    policy.order(foreman, Retire(home.name, "the test wants it"))
    assert getattr(worker, step).wait(PATIENCE)
    moves = [foreman.move(worker, elsewhere), foreman.move(worker, shelter)]
    moves.append(foreman.move(worker, elsewhere))
    gate.set()
    assert [move.result(PATIENCE) for move in moves] == [True, False, True]
    retired(foreman, heard, home)
    assert worker.node is elsewhere
    went_well(foreman, worker)


@pytest.mark.parametrize("step", ["leaving", "arriving"])
def test_stopped_and_started_again_in_the_middle(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node, step: str
) -> None:
    workers = [Reluctant() for _ in range(2 * AT_ONCE)]
    settle(foreman, home, workers)
    for worker in workers:
        (worker.may_leave if step == "leaving" else worker.may_arrive).clear()
    policy.order(foreman, Retire(home.name, "the test wants it"))
    until(lambda: sum(getattr(worker, step).is_set() for worker in workers) == AT_ONCE)
    stopping = threading.Thread(target=foreman.stop)
    stopping.start()
    until(lambda: not foreman._dispatcher.nodes)
    assert foreman.start()
    for worker in workers:
        worker.may_leave.set()
        worker.may_arrive.set()
    stopping.join(PATIENCE)
    for worker in workers:
        assert worker.log == ["start", "stop"]
        assert worker.wrong == []
        assert worker.node is None
        worker.log.clear()
        foreman.add(worker)
    went_well(foreman, *workers)


# ---------------------------------------------------------------- many


class Counted(Probe):
    """Counts how many are between two nodes."""

    lock = threading.Lock()
    between = 0
    most = 0

    @classmethod
    def count(cls, change: int) -> None:
        with cls.lock:
            cls.between += change
            cls.most = max(cls.most, cls.between)

    async def detach(self) -> None:
        self.count(1)
        await super().detach()

    async def attach(self, node: Node) -> None:
        await super().attach(node)
        if self.log:
            self.count(-1)


def test_several_groups_that_leave_one_node_leave_as_one(
    foreman: Foreman, policy: Told, heard: Heard, shelter: Node, home: Node
) -> None:
    """Together they are no more at a time, and the node is judged anew when all have left."""
    steps = sorted({round_down(0.1 * 1.1**n) for n in range(200)}, reverse=True)
    workers = [Reluctant(latency) for latency in steps[: AT_ONCE_IN_NEED + 9]]
    settle(foreman, home, workers)
    for worker in workers:
        worker.may_leave.clear()

    def relocate(snapshot: Snapshot) -> list[Relocate]:
        (view,) = (node for node in snapshot.nodes if node.name == home.name)
        assert len(view.groups) == len(workers)
        return [Relocate(home.name, group, group.count, "as told") for group in view.groups]

    policy.order(foreman, relocate)
    until(lambda: sum(worker.leaving.is_set() for worker in workers) >= AT_ONCE_IN_NEED)
    conduct = foreman._dispatcher._seating.ledger._conducts[home.name]
    assert sum(worker.leaving.is_set() for worker in workers) == AT_ONCE_IN_NEED
    last = next(worker for worker in workers if worker.leaving.is_set())
    for worker in workers:
        if worker is not last:
            worker.may_leave.set()
    until(lambda: all(worker is last or settled_elsewhere(worker, home) for worker in workers))
    assert conduct.in_action
    last.may_leave.set()
    until(lambda: not conduct.in_action)
    assert settled_elsewhere(last, home)
    went_well(foreman, *workers)


def settled_elsewhere(worker: Probe, home: Node) -> bool:
    seat = worker._seat
    return seat is not None and seat.node is not home and not seat.in_transit


@pytest.mark.parametrize("at_once", [AT_ONCE, AT_ONCE_IN_NEED])
def test_a_few_at_a_time(
    make_foreman: MakeForeman, heard: Heard, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    policy = Told(BestFit(assumed_load=1e-5))
    foreman = make_foreman(policy=policy, on_event=heard)
    home = foreman.spawn()
    workers = [Counted(60.0) for _ in range(2000)]
    for worker in workers:
        foreman.add(worker)
    for move in [foreman.move(worker, home) for worker in workers]:
        assert move.result(PATIENCE)
    heard.events.clear()
    monkeypatch.setattr(Counted, "most", 0)
    monkeypatch.setattr(Counted, "between", 0)
    foreman.spawn()

    def relocate(snapshot: Snapshot) -> list[Relocate]:
        (view,) = (node for node in snapshot.nodes if node.name == home.name)
        return [Relocate(home.name, group, group.count, "too many") for group in view.groups]

    if at_once == AT_ONCE:
        policy.order(foreman, Retire(home.name, "too many"))
        retired(foreman, heard, home)
    else:
        policy.order(foreman, relocate)
    heard.wait_for(Moved, len(workers))
    assert not foreman._dispatcher._evacuations
    assert not any(worker.node is home for worker in workers)
    assert Counted.between == 0
    assert 1 < Counted.most <= at_once
    removals = [foreman.remove(worker) for worker in workers]
    for gone in removals:
        gone.result(PATIENCE)
    assert all(worker.log == ["start", "stop"] for worker in workers)
    assert not any(worker.wrong for worker in workers)
    foreman.stop()
    leaves_nothing(foreman)


@pytest.mark.parametrize(
    ("load", "computing", "measured", "lock", "idle"),
    [
        (0.0, 1.0, True, True, 1.0),
        (0.75, 1.0, True, True, 0.25),
        (0.75, 0.0, True, True, 1.0),  # sleeping leaves it to others
        (0.75, 1.0, False, True, 1.0),  # room that is merely reserved keeps nobody busy
        (4.0, 1.0, True, True, LEAST_IDLE),
        (4.0, 1.0, True, False, 1.0),
    ],
)
def test_those_who_need_not_hurry_leave_the_processor_to_others(
    monkeypatch: pytest.MonkeyPatch,
    load: float,
    computing: float,
    measured: bool,
    lock: bool,
    idle: float,
) -> None:
    foreman = Foreman()  # it need not run for this
    seating = foreman._dispatcher._seating
    monkeypatch.setattr(seating._tuning, "_has_lock", lock)
    node: Any = SimNode("node-1")
    seating.ledger.enlist(node, 0.0)
    one = demand(hold=0.001, load=load, computing=computing, measured=measured)
    seating.ledger.seat(Probe(), node, one, "")
    evacuation = Evacuation(node, [], "why not", retires=True)
    foreman._dispatcher._evacuations._by_node[node] = evacuation
    foreman._dispatcher.go_on(0.01)
    assert evacuation._allowed == pytest.approx(AT_ONCE + idle * 0.01 * SHARE_OF_TIME / COST)
