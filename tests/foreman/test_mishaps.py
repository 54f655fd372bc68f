"""What a policy or a worker does wrong is borne: it is logged, and nobody is lost for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from foreman import BestFit, Demand, Foreman, NotMovable
from foreman.decisions import Action, Placement, Relocate, Retire, Spawn
from foreman.demand import Snapshot
from foreman.events import Event, Missed, Moved, Retired, Spawned, Stayed, Stuck
from foreman.ledger import BELIEVED_AFTER
from tests.foreman.conftest import (
    PATIENCE,
    Block,
    Handler,
    Heard,
    MakeForeman,
    Probe,
    Reluctant,
    Told,
    groups_on,
    handle_until,
    until,
)

# ---------------------------------------------------------------- policies that raise


class Faulty(Told):
    """Raises while it is told to."""

    def __init__(self, rules: BestFit | None = None) -> None:
        super().__init__(rules)
        self.places_before_it_raises: int | None = None

    def place(
        self, demand: Demand, snapshot: Snapshot, home: str | None = None, avoid: str | None = None
    ) -> Placement:
        if self.places_before_it_raises is not None:
            self.places_before_it_raises -= 1
            if self.places_before_it_raises < 0:
                raise RuntimeError("the policy is at a loss")
        return super().place(demand, snapshot, home, avoid)


@pytest.fixture
def faulty(make_foreman: MakeForeman, heard: Heard) -> tuple[Faulty, Foreman]:
    policy = Faulty()
    return policy, make_foreman(policy=policy, on_event=heard)


def fail(snapshot: Snapshot) -> Sequence[Action]:
    raise RuntimeError("the policy is at a loss")


def test_a_policy_that_cannot_place(faulty: tuple[Faulty, Foreman]) -> None:
    policy, foreman = faulty
    worker, late = Probe(1.0), Probe(1.0)
    node = foreman.add(worker)
    policy.places_before_it_raises = 0
    with pytest.raises(RuntimeError, match="at a loss"):
        foreman.add(late)
    with pytest.raises(RuntimeError, match="at a loss"):
        worker.required_latency = 0.5
    assert worker.required_latency == 1.0
    assert late.node is None
    assert node.workers == (worker,)
    policy.places_before_it_raises = None
    foreman.add(late)
    worker.required_latency = 0.5
    for each in (worker, late):
        foreman.remove(each).result(PATIENCE)
        assert each.log == ["start", "stop"]


@pytest.mark.parametrize("first", [0, 1, 3])
@pytest.mark.parametrize("retires", [True, False])
def test_a_policy_that_cannot_place_those_who_leave(
    faulty: tuple[Faulty, Foreman], caplog: pytest.LogCaptureFixture, first: int, retires: bool
) -> None:
    """Those who were placed go, the others stay, and the node is left in peace."""
    policy, foreman = faulty
    foreman.spawn()
    node = foreman.spawn()
    workers = [Probe() for _ in range(8)]
    for worker in workers:
        foreman.add(worker)
        assert foreman.move(worker, node).result(PATIENCE)
    policy.places_before_it_raises = first

    def relocate(snapshot: Snapshot) -> Sequence[Action]:
        view = next(view for view in snapshot.nodes if view.name == node.name)
        return [Relocate(node.name, group, group.count, "as told") for group in view.groups]

    policy.order(foreman, Retire(node.name, "as told") if retires else relocate)
    until(lambda: not foreman._dispatcher._evacuations)
    assert "at a loss" in caplog.text
    assert f"no place for those who leave {node.name}" in caplog.text
    policy.places_before_it_raises = None
    until(lambda: not any(w._seat is None or w._seat.in_transit for w in workers))
    assert sum(worker.node is not node for worker in workers) == first
    foreman._dispatcher.review()
    assert node in foreman.nodes
    assert not foreman._dispatcher._seating.ledger.is_retiring(node)
    for worker in workers:
        foreman.remove(worker).result(PATIENCE)
        assert worker.log == ["start", "stop"]
        assert worker.wrong == []


def test_a_policy_that_cannot_review_keeps_no_emptied_node(
    faulty: tuple[Faulty, Foreman], heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    policy, foreman = faulty
    foreman.spawn()
    node, worker = foreman.spawn(), Probe()
    foreman.add(worker)
    assert foreman.move(worker, node).result(PATIENCE)
    policy.orders.extend([lambda snapshot: [Retire(node.name, "as told")], *([fail] * 30)])
    until(lambda: node not in foreman.nodes)
    (retired,) = heard.wait_for(Retired)
    assert retired.node is node
    until(lambda: not node._thread.is_alive())
    until(lambda: "the review failed" in caplog.text)
    assert "at a loss" in caplog.text
    foreman.remove(worker).result(PATIENCE)


def test_a_policy_that_never_can_review_is_logged_now_and_then(
    faulty: tuple[Faulty, Foreman], caplog: pytest.LogCaptureFixture
) -> None:
    """Also while a node is late, and every look is followed by a review."""
    policy, foreman = faulty
    policy.orders.extend([fail] * 1000)
    blocker = Block(0.02)
    foreman.add(blocker)
    blocker.hold()
    until(lambda: len(policy.orders) < 950)
    blocker.released.set()
    assert 1 <= caplog.text.count("the review failed") < 25
    foreman.remove(blocker).result(PATIENCE)


@pytest.mark.parametrize("wrong", [Spawn("as told"), Retire("nowhere", "as told")])
def test_what_a_policy_decided_before_it_erred_is_done(
    faulty: tuple[Faulty, Foreman], heard: Heard, caplog: pytest.LogCaptureFixture, wrong: Action
) -> None:
    """One wrong action does no harm to the others."""
    policy, foreman = faulty
    foreman.spawn()
    node, worker = foreman.spawn(), Probe()
    foreman.add(worker)
    assert foreman.move(worker, node).result(PATIENCE)
    policy.orders.append(lambda snapshot: [Retire(node.name, "as told"), wrong])
    (retired,) = heard.wait_for(Retired)
    assert retired.node is node
    assert worker.node is not node
    if isinstance(wrong, Spawn):
        assert [event.reason for event in heard.all(Spawned)][-1] == "as told"
    else:
        assert "nowhere" in caplog.text
    foreman.remove(worker).result(PATIENCE)


# ---------------------------------------------------------------- workers that raise


class Undecided(Probe):
    """Raises when asked whether it can move."""

    asked = 0

    @property
    def movable(self) -> bool:
        self.asked += 1
        raise RuntimeError("who knows")


def test_one_that_raises_when_asked_whether_it_can_move(
    foreman: Foreman, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays, and what the others cost is learnt all the same."""
    undecided, handler = Undecided(), Handler()
    node = foreman.add(undecided)
    foreman.add(handler)
    assert foreman.move(handler, node).result(PATIENCE)
    handle_until(
        [handler],
        lambda: handler.holds.total_runs >= BELIEVED_AFTER and undecided.asked,
    )
    handle_until(
        [handler],
        lambda: any(g.measured and g.movable for g in groups_on(foreman, node)),
    )
    assert foreman.move(undecided, foreman.spawn()).result(PATIENCE) is False
    assert "who knows" in heard.wait_for(Stayed)[0].reason
    assert "who knows" in caplog.text
    foreman.remove(undecided).result(PATIENCE)
    assert undecided.log == ["start", "stop"]


class Curious(Probe):
    """Looks at its Foreman when asked whether it can move."""

    asked = 0

    @property
    def movable(self) -> bool:
        assert self._foreman is not None
        self._foreman.statistics()
        self.asked += 1
        return True


def test_one_that_asks_the_foreman_when_asked(foreman: Foreman) -> None:
    """No code of the user's runs under the Foreman's lock."""
    curious = Curious()
    foreman.add(curious)
    until(lambda: curious.asked)
    assert foreman.move(curious, foreman.spawn()).result(PATIENCE)
    foreman.remove(curious).result(PATIENCE)


# ---------------------------------------------------------------- listeners that raise


@pytest.mark.parametrize("kind", [Moved, Stayed, Stuck, Missed, Retired])
def test_a_listener_that_would_end_the_thread_it_is_called_on(
    make_foreman: MakeForeman, caplog: pytest.LogCaptureFixture, kind: type[Event]
) -> None:
    told: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, kind) and not told:
            told.append(event)
            raise SystemExit("as the test wants")

    policy = Told()
    foreman = make_foreman(policy=policy, on_event=listen)
    worker, blocker = Reluctant(), Block(0.02)
    node = foreman.add(worker)
    away = foreman.spawn()
    assert worker.started.wait(PATIENCE)
    if kind is Moved:
        assert foreman.move(worker, away).result(PATIENCE)
    elif kind is Stayed:
        worker.detach_error = NotMovable("not now")
        assert not foreman.move(worker, away).result(PATIENCE)
        worker.detach_error = None
    elif kind is Retired:
        policy.orders.append(Retire(away.name, "as told"))
    else:
        foreman.add(blocker)
        blocker.hold()
    until(lambda: told)
    blocker.released.set()
    until(lambda: "on_event raised for" in caplog.text)
    assert foreman.move(worker, node).result(PATIENCE)
    foreman.remove(worker).result(PATIENCE)
    assert worker.log == ["start", "stop"]
    for _ in range(2):  # the watch goes on
        policy.orders.append(Spawn("as told"))
        until(lambda: not policy.orders)


def test_stop_does_not_wait_for_a_slow_listener_beyond_its_time(make_foreman: MakeForeman) -> None:
    stopped, left_in_time = threading.Event(), threading.Event()
    listening = threading.Event()

    def listen(event: Event) -> None:
        if isinstance(event, Missed):
            listening.set()
            if stopped.wait(4.0):
                left_in_time.set()

    foreman = make_foreman(on_event=listen)
    blocker = Block(0.02)
    foreman.add(blocker)
    blocker.hold()
    assert listening.wait(PATIENCE)
    blocker.released.set()
    foreman.stop(timeout=0.5)
    stopped.set()
    assert left_in_time.wait(PATIENCE)
    assert blocker.stopped.wait(PATIENCE)
