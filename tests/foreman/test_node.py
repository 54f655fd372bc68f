"""One node by itself: its loop, its clock, its end."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest

from foreman import Demand, Node, NotRunning, Worker
from foreman.loops import new_loop
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


def demand(latency: float) -> Demand:
    return Demand(kind="a", required_latency=latency, hold=0.0, load=0.0, measured=False)


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


def test_cpu_is_told_from_waiting_once_holds_are_long(
    loop_factory: LoopFactory, post: Post
) -> None:
    import time

    node = Node("n", loop_factory(), time.perf_counter, threading.Lock(), post.report, post.end)
    node.start()
    computes, waits = Worker(), Worker()
    computes.holds.samples_cpu = waits.holds.samples_cpu = True

    def compute() -> None:
        ends = time.thread_time() + 0.02
        while time.thread_time() < ends:
            pass

    on(node, node.run, computes, compute)
    on(node, node.run, waits, threading.Event().wait, 0.02)
    assert node.stop(PATIENCE)
    computed, waited = (worker.statistics().holds.cpu_share for worker in (computes, waits))
    assert computed is not None
    assert waited is not None
    assert computed > waited


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
    node.wake(worker)


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
    node.roster.add("strict", demand(0.1))
    node.roster.add("loose", demand(1.0))
    released = threading.Event()
    node.post(released.wait, PATIENCE)
    node.stamp(clock.now)
    clock.now += 0.5
    assert node.waiting(clock.now) == 0.5
    assert node.scan_latency.last == 0.5, "while it is stuck, too"
    released.set()
    until(lambda: node.waiting(clock.now) == 0)
    assert node.scan_latency.last == 0.5
    assert node.waits_of(0.1).misses == 1
    assert node.waits_of(1.0).misses == 0
    assert node.waits_of(1.0).count == 1
    assert node.waits_of(7.0).count == 0, "nobody declares that"
    on(node, node._answer)
    assert node.waits_of(1.0).count == 1, "a stamp is answered once"


def test_costs_are_added_up_and_loads_fall_slowly(node: Node, clock: Clock, post: Post) -> None:
    worker, away = Probe(), Probe()
    worker._home = node
    node.roster.add("worker", demand(1.0))

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
    assert node.waits_of(1.0).count == 1
    for load in (0.25, 0.125):
        clock.now += 1.0
        assert node.is_active(), "its load is to be looked at again"
        assert fold() == [(worker, load)]
    node.roster.remove("worker", demand(1.0))
    for _ in range(11):
        clock.now += 1.0
        fold()
    assert post.costs[-1] in ([(worker, 0.0)], [])
    assert node.waits_of(1.0).count == 0, "nobody declares that any more"
    node.is_active()
    assert not node.is_active(), "an idle node is left to sleep"


def test_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvloop

    loop = new_loop()
    loop.close()
    assert isinstance(loop, uvloop.Loop)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_loop()
    loop.close()
    assert isinstance(loop, asyncio.SelectorEventLoop)
