"""What a careful reading of the Foreman found."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import pytest
from attrs import evolve

from foreman import (
    BestFit,
    Demand,
    Foreman,
    Infeasible,
    NotRunning,
    Place,
    Refuse,
    Snapshot,
    Spawn,
    Worker,
)
from foreman.events import Event, Spawned, Stayed
from foreman.roster import Roster
from foreman.seat import Seat
from tests.foreman.conftest import (
    PATIENCE,
    Block,
    Heard,
    LoopFactory,
    MakeForeman,
    Probe,
    Reluctant,
    Told,
    until,
)
from tests.foreman.simulation import Simulation


class Compared(float):
    """A number that counts how often any of its kind is compared."""

    times: ClassVar[int] = 0

    def __gt__(self, other: float) -> bool:
        Compared.times += 1
        return float(self) > float(other)

    def __lt__(self, other: float) -> bool:
        Compared.times += 1
        return float(self) < float(other)

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return isinstance(other, float) and float(self) == float(other)

    __hash__ = float.__hash__


def test_holds_that_fade_longest_first_do_not_search_the_group_for_each() -> None:
    """So they are measured anew, some at a time, on a thread for which all on its node wait."""
    roster = Roster()
    seats = []
    for number in range(800):
        hold = Compared((100 + number / 10) * 1e-6)
        demand = Demand(kind="k", required_latency=1.0, hold=hold, mean=0.0, load=0.0)
        seats.append(Seat(None, None, demand, ""))
        roster.add(seats[-1], demand)
    roster.groups()
    Compared.times = 0
    for number, seat in enumerate(reversed(seats)):
        demand = evolve(seat.demand, hold=Compared(0.9 * seat.demand.hold))
        roster.replace(seat, seat.demand, demand)
        seat.demand = demand
        if number % 50 == 49:
            (group,) = roster.groups()
            assert float(group.hold) == max(float(seat.demand.hold) for seat in seats)
    assert Compared.times < 50 * len(seats)


# ---------------------------------------------------------------- nothing hangs, nothing leaks


class Talkative(Probe):
    """Asks its Foreman when it is asked who it is."""

    def __repr__(self) -> str:
        return f"<Talkative among {0 if self.node is None else len(self.node.workers)}>"


def test_an_error_about_a_worker_asks_it_nothing_under_the_lock(
    make_foreman: MakeForeman, heard: Heard
) -> None:
    foreman, other = make_foreman(on_event=heard), make_foreman()
    worker = Talkative()
    errors: list[BaseException] = []

    def misuse() -> None:
        for wrong in (
            lambda: foreman.add(worker),
            lambda: other.move(worker, node),
            lambda: other.require(worker, 0.5),
        ):
            try:
                wrong()
            except (ValueError, NotRunning) as error:
                errors.append(error)

    node = foreman.add(worker)
    thread = threading.Thread(target=misuse, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [ValueError, NotRunning, NotRunning]
    assert all("Talkative" in str(error) for error in errors)


class Odd(BaseException):
    """What is no Exception, and nothing that Python or asyncio raise."""


def test_one_that_cannot_let_go_for_an_odd_reason_stays_and_can_be_removed(
    foreman: Foreman, heard: Heard
) -> None:
    worker = Reluctant()
    foreman.add(worker)
    worker.detach_error = Odd("no")
    assert foreman.move(worker, foreman.spawn()).result(PATIENCE) is False
    assert heard.all(Stayed)[0].reason == "stayed: no"
    foreman.remove(worker).result(PATIENCE)
    assert worker.stopped.is_set()


def test_one_that_cannot_arrive_for_an_odd_reason_is_let_go(foreman: Foreman) -> None:
    worker = Reluctant()
    worker.attach_error = Odd("no")
    foreman.add(worker)
    until(lambda: worker.node is None)
    assert [type(error) for error in worker.failures] == [Odd]


def test_a_thread_that_cannot_be_made_leaves_no_loop_open(
    make_foreman: MakeForeman, loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        loops.append(loop_factory())
        return loops[-1]

    caplog.set_level(logging.DEBUG, "foreman.pool")
    foreman = make_foreman(loop_factory=factory)
    worker = Probe()
    foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    found = threading.stack_size(1 << 46)  # more than there is: no thread begins with that
    try:
        with suppress(RuntimeError):
            while len(foreman.nodes) < 3:  # one may be in reserve already
                foreman.spawn()
        until(lambda: "no node in reserve: can't start new thread" in caplog.text)
    finally:
        threading.stack_size(found)
    assert "the review failed" not in caplog.text
    assert len(foreman.nodes) < 3
    foreman.stop()
    assert len(loops) > 2
    assert all(loop.is_closed() for loop in loops)


# ---------------------------------------------------------------- declaring while being added


class Interrupted(Told):
    """Has something else happen on another thread while it is asked about a newcomer."""

    meanwhile: Callable[[], object] | None = None
    thread: threading.Thread | None = None

    def assume(self, kind: str, required_latency: float, shown: Demand | None) -> Demand:
        if self.meanwhile is not None:
            self.thread = threading.Thread(target=self.meanwhile)
            self.meanwhile = None
            self.thread.start()
            self.thread.join(0.2)  # it may have to wait until this has returned
        return super().assume(kind, required_latency, shown)


def test_what_is_declared_while_it_is_added_is_promised(make_foreman: MakeForeman) -> None:
    policy = Interrupted()
    foreman = make_foreman(policy=policy)
    worker = Probe(1.0)

    def declare() -> None:
        worker.required_latency = 0.25

    policy.meanwhile = declare
    foreman.add(worker)
    assert policy.thread is not None
    policy.thread.join(PATIENCE)
    assert worker.required_latency == 0.25
    assert worker.node is not None
    assert worker.node.roster.latencies == (0.25,)


def test_two_foremen_do_not_take_the_same_worker(make_foreman: MakeForeman) -> None:
    policy = Interrupted()
    foreman, other = make_foreman(policy=policy), make_foreman()
    worker = Probe()
    errors: list[ValueError] = []

    def add() -> None:
        try:
            other.add(worker)
        except ValueError as error:
            errors.append(error)

    policy.meanwhile = add
    node = foreman.add(worker)
    assert policy.thread is not None
    policy.thread.join(PATIENCE)
    assert len(errors) == 1
    assert worker.node is node
    assert other.nodes == ()


# ---------------------------------------------------------------- misuse


class Deciding(Told):
    """Places, and reviews, as the test says."""

    decision: Any = None
    actions: Any = ()

    def place(self, *arguments: Any, **options: Any) -> Any:
        return self.decision or super().place(*arguments, **options)

    def review(self, snapshot: Snapshot) -> Any:
        return self.actions


def test_a_policy_spawns_no_more_nodes_than_there_may_be(
    make_foreman: MakeForeman, heard: Heard
) -> None:
    policy = Deciding()
    policy.decision = Spawn("for everybody")
    foreman = make_foreman(policy=policy, max_nodes=2, on_event=heard)
    foreman.add(Probe())
    foreman.add(Probe())
    with pytest.raises(Infeasible, match="there are 2 nodes already; for everybody"):
        foreman.add(Probe())
    assert len(foreman.nodes) == 2


@pytest.mark.parametrize("nonsense", ["node-1", Worker(), 1])
def test_a_policy_that_places_by_nonsense_is_told_so(
    make_foreman: MakeForeman, nonsense: object
) -> None:
    policy = Deciding()
    policy.decision = nonsense
    foreman = make_foreman(policy=policy)
    worker = Probe()
    with pytest.raises(TypeError, match="a policy places by Place, Spawn or Refuse, not by"):
        foreman.add(worker)
    assert foreman.nodes == ()
    assert worker.node is None


@pytest.mark.parametrize("nonsense", [Place("node-1", "why not"), Refuse("why not")])
def test_a_policy_that_reviews_by_nonsense_spawns_nothing(
    make_foreman: MakeForeman, nonsense: Any
) -> None:
    policy = Deciding()
    foreman = make_foreman(policy=policy)
    foreman.add(Probe())
    policy.actions = [nonsense]
    with pytest.raises(TypeError, match="not what a policy may do in a review: "):
        foreman._dispatcher.review()
    assert len(foreman.nodes) == 1


# ---------------------------------------------------------------- nothing swings


def test_those_whose_holds_vary_about_their_own_latency_are_not_moved_about() -> None:
    sim = Simulation(max_nodes=32, lock_delay=1e-4)
    for _ in range(10):
        sim.add("app.Small", 1.0, 0.0001, 0.001)
        sim.add("app.Varying", 0.05, 0.05, 0.03, mean=0.017, jitter=0.3)
        sim.add("app.Sleeping", 0.01, 0.05, 0.1, computing=0.0, jitter=0.3)
    sim.advance(60)
    settled = sim.count("move")
    sim.advance(180)
    assert sim.count("move") - settled < 6, "less than two a minute"


FINALIZING = """
import gc
from foreman import BestFit, Foreman, Worker

class Cycle:
    def __init__(self, foreman, worker):
        self.foreman, self.worker, self.me = foreman, worker, self
    def __del__(self):
        self.foreman.remove(self.worker)
        print(self.foreman.statistics().workers)

class Collecting(BestFit):
    def place(self, *args, **options):
        gc.collect()
        return super().place(*args, **options)

gc.disable()
with Foreman(policy=Collecting()) as foreman:
    worker = Worker()
    foreman.add(worker)
    Cycle(foreman, worker)
    foreman.add(Worker())
"""


def test_a_finalizer_may_call_in_wherever_the_collector_runs() -> None:
    """Under the Foreman's lock things are allocated, so the collector may run there, too."""
    ended = subprocess.run(
        [sys.executable, "-c", FINALIZING], capture_output=True, text=True, timeout=20
    )
    assert ended.stdout == "1\n", ended.stderr


# ---------------------------------------------------------------- declaring, again


@pytest.mark.parametrize("latency", [0.010, 0.0105, 0.020, 1.0])
def test_asking_for_no_more_than_before_is_never_refused(
    make_foreman: MakeForeman, latency: float
) -> None:
    """Not even where nothing can be kept: the node is stuck, and there may be no other."""
    foreman = make_foreman(max_nodes=1)
    blocker, worker = Block(0.01), Probe(0.01)
    node = foreman.add(blocker)
    foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    blocker.hold()
    until(lambda: node.stuck)
    worker.required_latency = latency
    assert worker.required_latency == latency
    assert worker.node is node
    with pytest.raises(Infeasible):
        worker.required_latency = 0.001
    assert worker.required_latency == latency
    blocker.released.set()


def test_a_listener_that_is_interrupted_strands_nobody(make_foreman: MakeForeman) -> None:
    armed: list[type[Event]] = []

    def listen(event: Event) -> None:
        if armed and isinstance(event, armed[0]):
            armed.clear()
            raise KeyboardInterrupt

    class Slow(Probe):
        expected_hold = 0.3

    foreman = make_foreman(on_event=listen)
    slow, worker = Slow(1.0), Probe(1.0)
    node = foreman.add(slow)
    assert foreman.add(worker) is node
    assert worker.started.wait(PATIENCE)
    armed.append(Spawned)
    with pytest.raises(KeyboardInterrupt):
        worker.required_latency = 0.01
    until(lambda: worker._home is not node and worker._home is worker.node)
    foreman.remove(worker).result(PATIENCE)
    assert worker.log == ["start", "stop"]
    assert worker.wrong == []


# ---------------------------------------------------------------- hooks


@pytest.mark.parametrize("hook", ["detach", "attach"])
def test_a_hook_that_raises_what_ends_a_generator(foreman: Foreman, hook: str) -> None:
    worker = Reluctant()
    if hook == "attach":
        worker.attach_error = GeneratorExit()
    else:
        worker.detach_error = GeneratorExit()
    foreman.add(worker)
    assert worker.arriving.wait(PATIENCE)
    if hook == "detach":
        assert foreman.move(worker, foreman.spawn()).result(PATIENCE) is False
    foreman.remove(worker).result(PATIENCE)
    assert [type(error) for error in worker.failures] == [GeneratorExit] * (hook == "attach")


def test_one_that_could_not_be_moved_when_it_last_ran_is_asked_again_while_it_rests(
    make_foreman: MakeForeman, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would keep a node for ever."""
    monkeypatch.setattr("foreman.watcher.REST_AFTER", 0.3)
    monkeypatch.setattr("foreman.dispatcher.ASKED_AGAIN_AFTER", 0.3)

    class Fixed(Probe):
        free = False

        @property
        def movable(self) -> bool:
            return self.free

    foreman = make_foreman(policy=BestFit(patience=0.3))
    workers = [Fixed(), Fixed()]
    for worker in workers:
        foreman.add(worker)
        assert worker.started.wait(PATIENCE)
    other = foreman.spawn()
    workers[1].free = True
    assert foreman.move(workers[1], other).result(PATIENCE)
    workers[1].free = False

    def learnt() -> bool:
        for worker in workers:
            worker.call_soon(worker.note, "ran")
        return not any(seat.demand.movable for n in foreman.nodes for seat in n.roster.members())

    until(learnt)
    assert len(foreman.nodes) == 2
    for worker in workers:
        worker.free = True  # which no hold shows
    until(lambda: len(foreman.nodes) == 1)
