"""One node by itself: its loop, its clock, its end."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from foreman import Demand, Node, NotRunning, Worker
from foreman.accounts import CLOSELY_FOR, FOLDED_AT_ONCE
from foreman.loops import new_loop
from foreman.meters import OFTEN
from foreman.seat import Seat
from foreman.timer_slack import NANOSECONDS
from tests.foreman.conftest import PATIENCE, LoopFactory, Probe, until


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Post:
    """What a node reports to its Foreman."""

    def __init__(self) -> None:
        self.costs: list[list[tuple[Worker, float]]] = []
        self.reported = threading.Event()
        self.ended = threading.Event()

    def report(self, node: Node, costs: list[tuple[Worker, float]]) -> None:
        self.costs.append(costs)
        self.reported.set()

    def end(self, node: Node) -> None:
        self.ended.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def node(loop_factory: LoopFactory, clock: Clock, post: Post) -> Iterator[Node]:
    node = Node("node-x", loop_factory(), clock, threading.Lock(), post.report, post.end)
    node.start()
    yield node
    assert node.stop(PATIENCE)
    assert post.ended.wait(PATIENCE)


def declare(node: Node, latency: float) -> Seat:
    """Have somebody on the node who declares this latency, seconds."""
    demand = Demand(
        kind="a", required_latency=latency, hold=0.0, mean=0.0, load=0.0, measured=False
    )
    seat = Seat(Worker(), node, demand, "made up")
    node.roster.add(seat, demand)
    return seat


def on(node: Node, function: object, *args: object) -> None:
    """Run something on the node's thread and wait for its end."""
    done = threading.Event()
    assert callable(function)

    def run() -> None:
        try:
            function(*args)
        finally:
            done.set()

    assert node.post(run)
    assert done.wait(PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a slack for each thread")
def test_its_thread_is_woken_on_time(node: Node) -> None:
    get_timer_slack = 30  # of Linux's <linux/prctl.h>
    found: list[int] = []
    node.post(lambda: found.append(ctypes.CDLL(None).prctl(get_timer_slack, 0, 0, 0, 0)))
    until(lambda: bool(found))
    assert found == [NANOSECONDS]


def test_here_is_its_own_thread(node: Node) -> None:
    found: list[bool] = []
    on(node, lambda: found.append(node.here))
    assert found == [True]
    assert not node.here


def test_holds_are_measured(node: Node, clock: Clock) -> None:
    worker = Worker()

    def hold() -> None:
        assert node.holder is worker
        clock.now += 0.25

    on(node, node.run, worker, hold)
    on(node, node.run, worker, hold)
    assert node.holder is None
    holds = worker.statistics().holds
    assert (holds.count, holds.mean, holds.worst) == (2, 0.25, 0.25)


def test_each_step_of_a_coroutine_is_a_hold(node: Node, clock: Clock) -> None:
    worker = Worker()
    done = threading.Event()

    async def steps() -> None:
        clock.now += 1.0
        await asyncio.sleep(0)
        clock.now += 3.0
        try:
            raise_here = asyncio.get_running_loop().create_future()
            raise_here.get_loop().call_soon(raise_here.set_exception, ValueError())
            await raise_here
        except ValueError:
            clock.now += 2.0
        done.set()

    on(node, lambda: node.create_task(worker, steps()))
    assert done.wait(PATIENCE)
    until(lambda: node.holder is None)
    holds = worker.statistics().holds
    assert (holds.count, holds.mean, holds.worst) == (3, 2.0, 3.0)


def test_a_metered_coroutine_may_be_awaited_by_what_is_no_hold(node: Node, clock: Clock) -> None:
    worker = Worker()
    got: list[str] = []
    done = threading.Event()

    async def step() -> str:
        clock.now += 1.0
        await asyncio.sleep(0)
        clock.now += 3.0
        return "its result"

    async def whole() -> None:
        clock.now += 10.0
        got.append(await node.metered(worker, step()))
        clock.now += 10.0
        done.set()

    node.run_coroutine(whole())
    assert done.wait(PATIENCE)
    assert got == ["its result"]
    holds = worker.statistics().holds
    assert (holds.count, holds.mean, holds.worst) == (2, 2.0, 3.0)


@pytest.fixture
def timed(loop_factory: LoopFactory, post: Post) -> Iterator[Node]:
    """A node in real time, where something may be lost of it."""
    node = Node("n", loop_factory(), time.perf_counter, threading.Lock(), post.report, post.end)
    node.start()
    yield node
    assert node.stop(PATIENCE)


def compute(seconds: float) -> None:
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


@pytest.mark.parametrize("sampled", [False, True])
def test_computing_is_told_from_waiting(timed: Node, sampled: bool) -> None:
    computes, waits = Worker(), Worker()
    for worker in (computes, waits):
        worker.holds.sampled = sampled  # or else it is the first long hold
        timed.stamp(time.perf_counter())
        until(lambda: not timed.waiting(1e9))
        on(timed, timed.run, worker, compute if worker is computes else time.sleep, 0.03)
    computed, waited = (worker.statistics().holds.cpu_share for worker in (computes, waits))
    assert computed is not None
    assert waited is not None
    assert computed > 0.5 > waited


def test_short_holds_tell_nothing_about_computing(node: Node, clock: Clock, timed: Node) -> None:
    quick, simulated = Worker(), Worker()
    on(timed, timed.run, quick, lambda: None)
    assert quick.statistics().holds.cpu_share is None
    on(node, node.run, simulated, compute, 0.01)
    simulated.holds.sampled = True

    def hold() -> None:
        clock.now += 1.0

    on(node, node.run, simulated, hold)
    assert simulated.statistics().holds.worst == 1.0, "nothing is lost of time that is made up"
    assert simulated.statistics().holds.cpu_share is None


def test_what_the_collector_took_is_not_charged(timed: Node) -> None:
    worker, took = Worker(), 0.0
    alive = [[number] for number in range(300_000)]

    def hold() -> None:
        nonlocal took
        began = time.perf_counter()
        gc.collect()
        took = time.perf_counter() - began

    on(timed, timed.run, worker, hold)
    assert len(alive) == 300_000
    holds = worker.statistics().holds
    assert holds.count == 1
    assert holds.worst < took / 2


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_nothing_run_on_it_ends_it(
    node: Node, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def raise_it() -> None:
        raise error

    async def raise_it_async() -> None:
        raise error

    async def retrieve() -> None:
        task = node.create_task(Worker(), raise_it_async())
        await asyncio.wait([task])
        with pytest.raises(type(error)):
            task.result()

    on(node, raise_it)
    node.run_coroutine(retrieve())
    on(node, asyncio.get_running_loop)
    on(node, lambda: node.loop.stop())
    on(node, lambda: None)
    until(lambda: not node._tasks)
    assert "node-x goes on after what was to end it" in caplog.text


def test_a_stopped_node_says_so(node: Node) -> None:
    assert node.stop(PATIENCE)
    assert not node.post(print)

    async def never() -> None:
        raise AssertionError

    with pytest.raises(NotRunning, match="node-x has stopped"):
        node.run_coroutine(never())
    node.stamp(1.0)
    assert node.waiting(2.0) == 0.0
    worker = Worker()
    node.delivery.wake(worker)


def test_it_cannot_wait_for_its_own_end(node: Node, post: Post) -> None:
    answers: list[bool] = []
    on(node, lambda: answers.append(node.stop(PATIENCE)))
    assert answers == [False]
    assert post.ended.wait(PATIENCE)


def test_a_node_kept_busy_does_not_end_in_time(node: Node) -> None:
    released = threading.Event()
    node.post(released.wait, PATIENCE)
    assert not node.stop(0.01)
    released.set()


def test_what_runs_at_its_end_is_cancelled_and_what_was_ready_has_begun(node: Node) -> None:
    log: list[str] = []
    begun = threading.Event()

    async def linger(name: str) -> None:
        log.append(name)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            log.append(f"{name} cancelled")

    node.run_coroutine(linger("long ago"))
    assert begun.wait(PATIENCE)
    released = threading.Event()
    node.post(released.wait, PATIENCE)
    node.run_coroutine(linger("just now"))
    ending = threading.Thread(target=node.stop, args=(PATIENCE,))
    ending.start()
    released.set()
    ending.join()
    assert sorted(log) == ["just now", "just now cancelled", "long ago", "long ago cancelled"]


def test_a_stamp_measures_what_a_ready_worker_waits(node: Node, clock: Clock) -> None:
    declare(node, 0.1)
    declare(node, 1.0)
    released = threading.Event()
    node.post(released.wait, PATIENCE)
    node.stamp(clock.now)
    clock.now += 0.5
    assert node.waiting(clock.now) == 0.5
    assert node.scan_latency.last == 0.5, "while it is stuck, too"
    released.set()
    until(lambda: node.waits_of(1.0).count)
    assert node.waiting(clock.now) == 0
    assert node.scan_latency.last == 0.5
    assert node.late == 0.5
    assert node.waits_of(0.1).misses == 1
    assert node.waits_of(1.0).misses == 0
    assert node.waits_of(1.0).count == 1
    assert node.waits_of(1.1).count == 1, "kept as one second"
    assert node.waits_of(7.0).count == 0, "nobody declares that"
    on(node, node._answer)
    assert node.waits_of(1.0).count == 1, "a stamp is answered once"


def test_costs_are_added_up_and_loads_fall_slowly(node: Node, clock: Clock, post: Post) -> None:
    worker, away = Probe(), Probe()
    worker._home = node
    declared = declare(node, 1.0)

    def hold(seconds: float) -> None:
        clock.now += seconds

    def fold() -> list[tuple[Worker, float]]:
        post.reported.clear()
        node.stamp(clock.now)
        assert post.reported.wait(PATIENCE)
        return post.costs[-1]

    on(node, node.run, worker, hold, 0.5)
    on(node, node.run, away, hold, 0.0)
    clock.now += 0.5
    assert node.is_active()
    assert fold() == [(worker, 0.5)], "one that is elsewhere is added up there"
    assert away.holds.runs == 1
    until(lambda: node.waits_of(1.0).count == 1)
    for load in (0.25, 0.125):
        clock.now += 1.0
        assert node.is_active(), "its load is to be looked at again"
        assert fold() == [(worker, load)]
    node.roster.remove(declared, declared.demand)
    for _ in range(11):
        clock.now += 1.0
        fold()
    assert post.costs[-1] in ([(worker, 0.0)], [])
    assert node.waits_of(1.0).count == 0, "nobody declares that any more"
    node.is_active()
    assert not node.is_active(), "an idle node is left to sleep"


def break_promise(node: Node, clock: Clock, wait: float) -> None:
    """Have a stamp answered late."""
    counted = node.waits_of(0.1).count
    sent = clock.now
    clock.now += wait
    node.stamp(sent)
    until(lambda: node.waits_of(0.1).count > counted)


def test_who_held_it_is_told_as_soon_as_a_promise_is_broken(
    node: Node, clock: Clock, post: Post
) -> None:
    worker = Probe()
    worker._home = node
    declare(node, 0.1)

    def hold(seconds: float) -> None:
        clock.now += seconds

    on(node, node.run, worker, hold, 0.01)
    break_promise(node, clock, 0.09)
    assert not post.costs, "nothing was broken"
    assert node.late == 0.0
    on(node, node.run, worker, hold, 0.15)
    break_promise(node, clock, 0.11)
    assert node.late == pytest.approx(0.11)
    # Of 0.36 s it held the node 0.16 s; and that is 0.72 of a period.
    (((reported, load),),) = post.costs
    assert reported is worker
    assert load == pytest.approx(0.16 / 0.36 * 0.72)
    assert worker.holds.peak == pytest.approx(0.15)
    for _ in range(20):
        break_promise(node, clock, 0.11)
    ((_, less),) = post.costs[-1]
    assert 0 < less < load / 4, "and as slowly as otherwise it is forgotten"


def test_learning_from_broken_promises_leaves_time_to_keep_them(
    loop_factory: LoopFactory, clock: Clock
) -> None:
    folds = []

    def report(node: Node, costs: list[tuple[Worker, float]]) -> None:
        folds.append(clock.now)
        clock.now += 0.004  # as it may with thousands of workers

    node = Node("n", loop_factory(), clock, threading.Lock(), report, lambda node: None)
    node.start()
    declare(node, 0.1)
    for _ in range(8):
        break_promise(node, clock, 0.11)
    assert node.stop(PATIENCE)
    # At first it is not known what it takes; then a fiftieth of the time is left for it.
    assert [round(later - sooner, 3) for sooner, later in pairwise(folds)] == [0.224] * 3


def test_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvloop

    loop = new_loop()
    loop.close()
    assert isinstance(loop, uvloop.Loop)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_loop()
    loop.close()
    assert isinstance(loop, asyncio.SelectorEventLoop)


def test_what_adding_up_many_takes_is_counted_to_the_last(
    node: Node, clock: Clock, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done in several turns, and how soon it may be done again depends on all of them."""
    workers = [Probe() for _ in range(4 * FOLDED_AT_ONCE)]

    def report(node: Node, costs: list[tuple[Worker, float]]) -> None:
        clock.now += 0.002
        post.report(node, costs)

    monkeypatch.setattr(node._accounts, "_report", report)
    for worker in workers:
        worker._home = node
        on(node, node.adopt, worker)
    declare(node, 0.1)
    clock.now += 1.0
    break_promise(node, clock, 0.2)
    until(lambda: len(post.costs) == 4)
    on(node, lambda: None)
    for worker in workers:
        on(node, node.adopt, worker)
    break_promise(node, clock, 0.2)
    assert len(post.costs) == 4, "0.008 s are more than a fiftieth of 0.2 s"
    clock.now += 0.2
    break_promise(node, clock, 0.2)
    until(lambda: len(post.costs) == 8)


def test_after_a_broken_promise_no_hold_goes_untimed(node: Node, clock: Clock) -> None:
    often, late_comer = Probe(), Probe()
    declare(node, 0.1)

    def run_often(worker: Worker) -> None:
        for _ in range(OFTEN):
            node.enter(worker)
            node.leave(worker)

    for worker in (often, late_comer):
        worker._home = node
        on(node, run_often, worker)
        worker.holds.fold()
        assert worker.holds.skips
    on(node, run_often, often)
    on(node, run_often, late_comer)
    late_comer._home = None  # it has left, so that its meter is another thread's
    break_promise(node, clock, 0.2)
    assert not often.holds.skips, "it may have been this one"
    assert late_comer.holds.skips
    on(node, run_often, often)
    clock.now += 1.0
    node.stamp(clock.now)
    until(lambda: not often.holds.runs)
    assert not often.holds.skips, "for a while"
    on(node, run_often, often)
    clock.now += CLOSELY_FOR
    node.stamp(clock.now)
    until(lambda: not often.holds.runs)
    assert often.holds.skips
