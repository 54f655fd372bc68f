"""The Foreman on real threads: adding, declaring anew, telling, stopping, starting again."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from foreman import BestFit, Demand, Foreman, Infeasible, Node, NotRunning, Worker
from foreman.events import Event, Moved, Placed, Refused, Retired, Spawned
from foreman.ledger import BELIEVED_AFTER
from tests.foreman.conftest import (
    PATIENCE,
    Block,
    Heard,
    LoopFactory,
    MakeForeman,
    Probe,
    groups_on,
    until,
)

# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("max_nodes", [0, -1, 1.5, True, "2", None])
def test_the_cap_is_a_number_of_nodes(max_nodes: Any) -> None:
    with pytest.raises(ValueError, match="max_nodes must be a whole number"):
        Foreman(max_nodes=max_nodes)


@pytest.mark.parametrize("move_timeout", [0, -0.5, float("nan")])
def test_workers_have_some_time_to_move(move_timeout: float) -> None:
    with pytest.raises(ValueError, match=f"a positive time, seconds, not {move_timeout}"):
        Foreman(move_timeout=move_timeout)


def test_nothing_is_placed_before_the_start() -> None:
    foreman = Foreman()
    with pytest.raises(NotRunning, match="call start"):
        foreman.add(Probe())
    with pytest.raises(NotRunning, match="call start"):
        foreman.spawn()
    foreman.stop()
    assert repr(foreman) == "<Foreman: 0 nodes>"


def test_a_worker_is_added_once(foreman: Foreman, make_foreman: MakeForeman) -> None:
    worker, other = Probe(), make_foreman()
    foreman.add(worker)
    for anyone in (foreman, other):
        with pytest.raises(ValueError, match="was added already"):
            anyone.add(worker)
    assert other.nodes == ()
    assert foreman.statistics().workers == 1


def test_a_worker_obeys_its_own_foreman_only(foreman: Foreman, make_foreman: MakeForeman) -> None:
    worker, other = Probe(), make_foreman()
    node = foreman.add(worker)
    elsewhere = other.spawn()
    other.remove(worker).result(0)
    with pytest.raises(NotRunning, match="not a worker of this Foreman"):
        other.move(worker, elsewhere)
    with pytest.raises(NotRunning, match="not a worker of this Foreman"):
        other.require(worker, 0.5)
    with pytest.raises(NotRunning, match="not a node of this Foreman"):
        foreman.move(worker, elsewhere)
    with pytest.raises(ValueError, match="positive, finite"):
        foreman.require(worker, -1.0)
    assert worker.node is node
    assert worker.required_latency == 1.0


# ---------------------------------------------------------------- nodes


def test_nodes_may_be_spawned_ahead_up_to_the_cap(make_foreman: MakeForeman, heard: Heard) -> None:
    foreman = make_foreman(max_nodes=2, on_event=heard)
    nodes = (foreman.spawn(), foreman.spawn("for the evening"))
    assert foreman.nodes == nodes
    assert foreman.max_nodes == 2
    assert [event.reason for event in heard.all(Spawned)] == ["asked for", "for the evening"]
    with pytest.raises(Infeasible, match="there are 2 nodes already"):
        foreman.spawn()
    assert repr(nodes[0]) == "<Node node-1: 0 workers>"


def test_a_strict_and_a_loose_unknown_worker_start_apart(foreman: Foreman, heard: Heard) -> None:
    strict, loose = Probe(0.01), Probe(1.0)
    assert foreman.add(strict) is not foreman.add(loose)
    placed = heard.all(Placed)
    assert [event.worker for event in placed] == [strict, loose]
    assert placed[1].reason.startswith("a node of its own: on node-1, Probe declaring 0.01 s")


def test_an_expected_hold_counts_until_one_is_measured(foreman: Foreman) -> None:
    class Quick(Probe):
        expected_hold = 0.0001

    class Slow(Probe):
        expected_hold = 0.5

    strict = foreman.add(Quick(0.2))
    assert foreman.add(Quick(1.0)) is strict
    assert foreman.add(Slow(1.0)) is not strict


def test_what_is_measured_replaces_what_was_assumed(make_foreman: MakeForeman) -> None:
    foreman = make_foreman(max_nodes=3)
    loose, strict = Probe(1.0), Probe(0.2)
    node = foreman.add(loose)

    def measured() -> bool:
        loose.call_soon(loose.note, "work")
        return all(group.measured for group in groups_on(foreman, node))

    until(measured)
    assert foreman.add(strict) is node, "harmless once measured"


def test_a_class_is_remembered_and_a_worker_that_left_is_not_counted(foreman: Foreman) -> None:
    now_gone, stays = Probe(1.0), Probe(1.0)
    node = foreman.add(now_gone)
    foreman.add(stays)
    foreman.remove(now_gone).result(PATIENCE)
    foreman._dispatcher._learn(node, [(now_gone, 0.5), (stays, 0.125)])
    (group,) = groups_on(foreman, node)
    assert (group.load, group.hold, group.measured) == (0.125, 0.25, False), "not believed yet"
    stays.holds.total_runs = BELIEVED_AFTER
    foreman._dispatcher._learn(node, [(now_gone, 0.5), (stays, 0.25)])
    (group,) = groups_on(foreman, node)
    assert (group.count, group.load, group.measured) == (1, 0.25, True)
    foreman.add(Probe(1.0))
    assert groups_on(foreman, node)[1].load == 0.25, "assumed of the next one"


# ---------------------------------------------------------------- declaring anew


class Measured(BestFit):
    """Takes holds as declared by the class at once for measured."""

    def assume(self, kind: str, required_latency: float, shown: Demand | None) -> Demand:
        hold = 0.2 if kind.endswith("Slow") else 0.0
        return Demand(
            kind=kind,
            required_latency=required_latency,
            hold=hold,
            mean=hold,
            load=0.0,
            computing=0.0,
            measured=True,
        )


class Slow(Probe):
    pass


def test_what_cannot_be_kept_is_refused_and_the_old_promise_stays(
    make_foreman: MakeForeman, heard: Heard
) -> None:
    foreman = make_foreman(policy=Measured(), max_nodes=1, on_event=heard)
    slow, worker = Slow(1.0), Probe(0.5)
    node = foreman.add(slow)
    foreman.add(worker)
    with pytest.raises(Infeasible, match=r"a latency of 0\.1 s cannot be kept: all 1 nodes") as e:
        worker.required_latency = 0.1
    assert e.value.required_latency == 0.1
    assert worker.required_latency == 0.5
    assert list(node.roster.latencies) == [0.5, 1.0]
    refused = Probe(0.1)
    with pytest.raises(Infeasible):
        foreman.add(refused)
    assert refused.node is None
    assert [(event.worker, event.required_latency) for event in heard.all(Refused)] == [
        (worker, 0.1),
        (refused, 0.1),
    ]
    refused.required_latency = 0.3
    assert foreman.add(refused) is node
    worker.required_latency = 0.25
    assert worker.required_latency == 0.25
    assert list(node.roster.latencies) == [0.25, 0.3, 1.0]


def test_a_stricter_worker_moves_out(make_foreman: MakeForeman, heard: Heard) -> None:
    foreman = make_foreman(policy=Measured(), on_event=heard)
    slow, worker = Slow(1.0), Probe(0.5)
    node = foreman.add(slow)
    assert foreman.add(worker) is node
    worker.required_latency = 0.1
    (moved,) = heard.wait_for(Moved)
    assert moved.reason.startswith("declares 0.1 s; a node of its own: on node-1, ")
    assert worker.node is moved.new is not node
    worker.required_latency = 0.6
    assert worker.node is moved.new, "it stays where it is while that will do"
    foreman.remove(worker).result(PATIENCE)
    worker.required_latency = 0.01
    assert worker.required_latency == 0.01
    assert worker.log == ["start", "stop"]


def test_declared_twice_in_a_row_from_its_own_callback(make_foreman: MakeForeman) -> None:
    foreman = make_foreman(policy=Measured())
    slow, worker = Slow(1.0), Probe(0.5)
    node = foreman.add(slow)
    foreman.add(worker)
    done = threading.Event()

    def declare() -> None:
        for latency in (0.1, 0.7, 0.05, 0.4, 0.02):
            worker.required_latency = latency
        done.set()

    worker.call_soon(declare)
    assert done.wait(PATIENCE)
    assert worker.node is not node
    foreman.remove(worker).result(PATIENCE)
    assert worker.required_latency == 0.02
    assert worker.failures == []
    assert worker.wrong == []


def test_an_unmeasured_worker_is_assumed_anew(foreman: Foreman) -> None:
    worker = Probe(1.0)
    node = foreman.add(worker)
    worker.required_latency = 0.1
    (group,) = groups_on(foreman, node)
    assert (group.required_latency, group.hold) == (0.1, 0.025)


def test_a_removed_worker_may_declare_what_it_likes(make_foreman: MakeForeman) -> None:
    foreman = make_foreman(policy=Measured(), max_nodes=1)
    slow, blocker = Slow(1.0), Block(0.5)
    foreman.add(slow)
    foreman.add(blocker)
    blocker.hold()
    removed = foreman.remove(blocker)
    blocker.required_latency = 0.01
    assert blocker.required_latency == 0.01
    blocker.released.set()
    removed.result(PATIENCE)


def test_a_loop_that_cannot_be_made_changes_nothing(
    make_foreman: MakeForeman, loop_factory: LoopFactory
) -> None:
    made = 0

    def factory() -> asyncio.AbstractEventLoop:
        nonlocal made
        made += 1
        if made > 1:
            raise OSError(24, "Too many open files")
        return loop_factory()

    foreman = make_foreman(policy=Measured(), loop_factory=factory)
    slow, worker, late = Slow(1.0), Probe(0.5), Probe(0.1)
    node = foreman.add(slow)
    foreman.add(worker)
    with pytest.raises(OSError, match="Too many open files"):
        worker.required_latency = 0.1
    with pytest.raises(OSError, match="Too many open files"):
        foreman.add(late)
    assert worker.required_latency == 0.5
    assert set(node.workers) == {slow, worker}
    foreman.remove(worker).result(PATIENCE)
    assert late.node is None
    assert worker.log == ["start", "stop"]


# ---------------------------------------------------------------- telling


def test_events_are_counted(foreman: Foreman, heard: Heard) -> None:
    worker = Probe()
    foreman.add(worker)
    foreman.move(worker, foreman.spawn()).result(PATIENCE)
    until(lambda: foreman.statistics().events.get("moved"))
    statistics = foreman.statistics()
    assert statistics.events == {"spawned": 2, "placed": 1, "moved": 1}
    assert statistics.workers == 1
    assert [node.name for node in statistics.nodes] == ["node-1", "node-2"]
    assert [node.workers for node in statistics.nodes] == [0, 1]
    assert [node.required_latency for node in statistics.nodes] == [None, 1.0]
    assert not any(node.stuck for node in statistics.nodes)
    assert statistics.nodes[1].load > 0
    foreman.stop()
    assert {event.reason for event in heard.all(Retired)} == {"the Foreman stops"}
    assert foreman.statistics().events["retired"] == 2


def test_a_listener_that_raises_is_logged(
    make_foreman: MakeForeman, caplog: pytest.LogCaptureFixture
) -> None:
    def listen(event: Event) -> None:
        raise RuntimeError("deaf")

    foreman = make_foreman(on_event=listen)
    worker = Probe()
    foreman.add(worker)
    assert foreman.move(worker, foreman.spawn()).result(PATIENCE)
    foreman.remove(worker).result(PATIENCE)
    assert "on_event raised for Placed" in caplog.text
    assert worker.log == ["start", "stop"]


def test_an_interrupt_while_it_tells_leaves_nobody_on_the_way(make_foreman: MakeForeman) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, Placed):
            raise KeyboardInterrupt

    foreman = make_foreman(on_event=listen)
    worker = Probe()
    with pytest.raises(KeyboardInterrupt):
        foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    foreman.remove(worker).result(PATIENCE)


def test_a_listener_may_act(make_foreman: MakeForeman) -> None:
    """What it does causes further events; no lock is held meanwhile."""
    followers: list[Probe] = []

    def listen(event: Event) -> None:
        if isinstance(event, Placed) and len(followers) < 5:
            followers.append(Probe())
            foreman.add(followers[-1])
            foreman.statistics()

    foreman = make_foreman(on_event=listen)
    foreman.add(Probe())
    assert len(followers) == 5
    assert all(follower.started.wait(PATIENCE) for follower in followers)


def test_events_without_a_listener_may_be_overridden(loop_factory: LoopFactory) -> None:
    class Quiet(Foreman):
        def on_event(self, event: Event) -> None:
            seen.append(event)

    seen: list[Event] = []
    with Quiet(loop_factory=loop_factory) as foreman:
        foreman.spawn()
    assert [type(event) for event in seen] == [Spawned, Retired]


def test_statistics_are_read_while_everything_changes(foreman: Foreman) -> None:
    workers = [Probe(0.5) for _ in range(10)]
    done = threading.Event()
    read: list[int] = []
    errors: list[BaseException] = []

    def look() -> None:
        try:
            while not done.is_set():
                statistics = foreman.statistics()
                read.append(statistics.workers)
                assert statistics.workers == sum(node.workers for node in statistics.nodes)
                for worker in workers:
                    holds = worker.statistics().holds
                    assert holds.mean <= holds.worst or not holds.count
                for node in foreman.nodes:
                    assert len(node.workers) <= 10
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=look)
    reader.start()
    for turn in range(30):
        for worker in workers:
            foreman.add(worker)
            worker.call_soon(worker.note, turn)
        for removed in [foreman.remove(worker) for worker in workers]:
            removed.result(PATIENCE)
    done.set()
    reader.join()
    assert errors == []
    assert read
    assert all(worker.log.count("stop") == 30 for worker in workers)


# ---------------------------------------------------------------- the interpreter


def test_the_switch_interval_follows_and_is_given_back(
    make_foreman: MakeForeman, loop_factory: LoopFactory
) -> None:
    found = sys.getswitchinterval()
    foreman, other = make_foreman(), make_foreman()
    strict, loose = Probe(0.05), Probe(0.2)
    foreman.add(strict)
    other.add(loose)
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    strict.required_latency = 0.02
    assert sys.getswitchinterval() == pytest.approx(0.0002)
    foreman.remove(strict).result(PATIENCE)
    until(lambda: sys.getswitchinterval() == pytest.approx(0.002))
    other.stop()
    assert sys.getswitchinterval() == pytest.approx(found)


def test_the_switch_interval_may_be_left_alone(make_foreman: MakeForeman) -> None:
    found = sys.getswitchinterval()
    make_foreman(tune_interpreter=False).add(Probe(0.01))
    assert sys.getswitchinterval() == found


# ---------------------------------------------------------------- starting and stopping


def test_stop_lets_every_worker_go(foreman: Foreman) -> None:
    foreman.start()
    workers = [Probe(latency) for latency in (0.01, 0.1, 1.0) for _ in range(5)]
    for worker in workers:
        foreman.add(worker)
    foreman.stop()
    foreman.stop()
    assert all(worker.log == ["start", "stop"] for worker in workers)
    assert all(worker.node is None for worker in workers)
    assert foreman.nodes == ()


def test_stopped_while_workers_move_come_and_go(make_foreman: MakeForeman) -> None:
    for _ in range(20):
        foreman = make_foreman(max_nodes=4)
        workers = [Probe() for _ in range(8)]
        for worker in workers:
            foreman.add(worker)
        nodes = [foreman.spawn(), foreman.spawn()]
        errors: list[BaseException] = []
        begun = threading.Event()

        def disturb(
            foreman: Foreman = foreman,
            workers: list[Probe] = workers,
            nodes: list[Node] = nodes,
            errors: list[BaseException] = errors,
            begun: threading.Event = begun,
        ) -> None:
            try:
                for turn in range(1000):
                    foreman.move(workers[turn % 8], nodes[turn % 2])
                    workers[turn % 7].required_latency = 0.5 + turn % 5 / 10
                    begun.set()
            except NotRunning:
                pass
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=disturb)
        thread.start()
        assert begun.wait(PATIENCE)
        foreman.stop()
        thread.join()
        assert errors == []
        assert foreman.nodes == ()
        for worker in workers:
            assert worker.log == ["start", "stop"]
            assert worker.wrong == []
            assert worker.node is None


def test_a_foreman_starts_again(foreman: Foreman) -> None:
    worker = Probe()
    names = set()
    for _ in range(3):
        names.add(foreman.add(worker).name)
        foreman.stop()
        with pytest.raises(NotRunning):
            foreman.add(worker)
        assert foreman.start()
        assert not foreman.start()
    assert len(names) == 3, "no name is used twice"
    assert worker.log == ["start", "stop"] * 3


def test_stop_is_refused_on_a_nodes_thread(foreman: Foreman) -> None:
    worker = Probe()
    foreman.add(worker)
    worker.call_soon(foreman.stop)
    until(lambda: worker.failures)
    assert isinstance(worker.failures[0], RuntimeError)
    assert "called from a worker" in str(worker.failures[0])
    late = Probe()
    foreman.add(late)
    assert late.started.wait(PATIENCE)


def test_a_stuck_node_is_left_behind_and_lets_go_when_it_can(
    foreman: Foreman, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = Block()
    foreman.add(blocker)
    blocker.hold()
    removed = foreman.remove(blocker)
    foreman.stop(timeout=0.01)
    assert f"node-1 did not end in time; it is busy with {blocker!r}" in caplog.text
    assert foreman.nodes == ()
    foreman.start()
    with pytest.raises(ValueError, match="was added already"):
        foreman.add(blocker)
    neighbour = Probe()
    foreman.add(neighbour)
    assert neighbour.started.wait(PATIENCE), "the next life goes on beside it"
    blocker.released.set()
    removed.result(PATIENCE)
    assert blocker.stopped.is_set()
    foreman.add(blocker)
    foreman.remove(blocker).result(PATIENCE)


class Endless(Worker):
    """A hook of it never returns."""

    def __init__(self, stubborn: bool) -> None:
        super().__init__()
        self.stubborn = stubborn
        self.begun = threading.Event()

    async def attach(self, node: Node) -> None:
        self.begun.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise


@pytest.mark.parametrize("stubborn", [False, True])
def test_one_that_never_arrives_does_not_keep_its_future_for_ever(
    foreman: Foreman, stubborn: bool, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Endless(stubborn)
    foreman.add(worker)
    assert worker.begun.wait(PATIENCE)
    removed = foreman.remove(worker)
    foreman.stop(timeout=0.05 if not stubborn else 0.01)
    removed.result(PATIENCE)
    assert worker.node is None
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("node-")])


def run_in_asyncio(loop_factory: LoopFactory, main: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_it_is_usable_from_asyncio(loop_factory: LoopFactory) -> None:
    worker = Probe()

    async def main() -> None:
        foreman = Foreman(loop_factory=loop_factory)
        foreman.start()
        foreman.add(worker)
        assert await asyncio.wrap_future(foreman.move(worker, foreman.spawn()))
        await asyncio.wrap_future(foreman.remove(worker))
        await asyncio.to_thread(foreman.stop)

    run_in_asyncio(loop_factory, main)
    assert worker.log == ["start", "stop"]
