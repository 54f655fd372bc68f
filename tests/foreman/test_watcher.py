"""A node that is stuck: seen from outside, spared, and taken back when it comes round."""

from __future__ import annotations

import threading

import pytest

from foreman import Foreman, Infeasible, Node
from foreman.events import Missed, Stuck
from foreman.watcher import LONGEST_LOOK, SHORTEST_LOOK, Watcher
from tests.foreman.conftest import PATIENCE, Block, Heard, MakeForeman, Probe, groups_on, until


def test_a_stuck_node_names_its_holder_is_spared_and_recovers(
    make_foreman: MakeForeman, heard: Heard
) -> None:
    foreman = make_foreman(on_event=heard, max_nodes=1)
    blocker, neighbour = Block(0.01), Probe(0.01)
    node = foreman.add(blocker)
    foreman.add(neighbour)
    blocker.hold()
    stuck = heard.wait_for(Stuck)[0]
    assert (stuck.node, stuck.holder) == (node, blocker)
    assert stuck.wait > 0.01
    assert repr(blocker) in stuck.reason
    missed = heard.wait_for(Missed)[0]
    assert (missed.node, missed.required_latency) == (node, 0.01)
    assert missed.wait > 0.01
    (statistics,) = foreman.statistics().nodes
    assert statistics.stuck
    assert statistics.scan_latency.last > 0.01
    with pytest.raises(Infeasible, match="node-1 is stuck"):
        foreman.add(Probe())
    blocker.released.set()
    until(lambda: not node.stuck)
    until(lambda: any(group.outsized for group in groups_on(foreman, node)))
    with pytest.raises(Infeasible, match="for one other"):
        foreman.add(Probe(0.01))
    late = Probe(60.0)
    assert foreman.add(late) is node, "it can wait for as long as the blocker was seen to block"
    assert late.started.wait(PATIENCE)
    assert len(heard.all(Stuck)) == 1
    assert neighbour.statistics().waits.misses >= 1


@pytest.mark.parametrize("hook", ["attach", "detach"])
def test_a_worker_that_blocks_while_it_comes_or_goes_is_named(
    foreman: Foreman, heard: Heard, hook: str
) -> None:
    class Sticky(Block):
        async def attach(self, node: Node) -> None:
            if hook == "attach":
                self.block()

        async def detach(self) -> None:
            if hook == "detach":
                self.block()

    sticky = Sticky(0.01)
    node = foreman.add(sticky)
    if hook == "detach":
        assert foreman.add(Probe(0.01)) is node, "somebody who is kept waiting"
        foreman.move(sticky, foreman.spawn())
    stuck = heard.wait_for(Stuck)[0]
    assert (stuck.node, stuck.holder) == (node, sticky)
    sticky.released.set()


def test_a_new_worker_gets_a_node_of_its_own_beside_a_stuck_one(
    foreman: Foreman, heard: Heard
) -> None:
    blocker = Block(0.01)
    stuck = foreman.add(blocker)
    blocker.hold()
    heard.wait_for(Stuck)
    late = Probe(0.01)
    assert foreman.add(late) is not stuck
    assert late.started.wait(PATIENCE)
    blocker.released.set()


def test_a_node_that_is_left_while_stuck_is_taken_back(
    make_foreman: MakeForeman, heard: Heard
) -> None:
    """Stuck it stays until it has come round, and no longer, even when nobody is there."""
    foreman = make_foreman(on_event=heard, max_nodes=2)
    blocker = Block(0.01)
    node = foreman.add(blocker)
    away = foreman.spawn()
    blocker.hold()
    heard.wait_for(Stuck)
    moved = foreman.move(blocker, away)
    assert node.workers == ()
    foreman.statistics()  # so that what is promised there is up to date
    look_again, missed = Watcher(foreman._dispatcher)._watch(node)
    assert look_again >= LONGEST_LOOK
    assert not missed, "nobody is there"
    assert node.stuck
    blocker.released.set()
    assert moved.result(PATIENCE)
    until(lambda: not node.stuck)


def test_one_that_goes_on_and_on_is_reported_again(make_foreman: MakeForeman) -> None:
    now = 0.0
    heard = Heard()
    foreman = make_foreman(on_event=heard, clock=lambda: now)
    blocker = Block(1.0)
    node = foreman.add(blocker)
    blocker.hold()
    until(lambda: node._stamped is not None)
    now = 2.0
    heard.wait_for(Missed, 1)
    heard.wait_for(Stuck)
    watcher = Watcher(foreman._dispatcher)
    for _ in range(3):
        watcher._watch(node)
    assert len(heard.all(Missed)) == 2, "each watcher reports it once in a while"
    now = 3.5
    heard.wait_for(Missed, 3)
    assert len(heard.all(Stuck)) == 1
    blocker.released.set()


def test_an_idle_node_is_left_alone(make_foreman: MakeForeman) -> None:
    now = 0.0
    foreman = make_foreman(clock=lambda: now)
    assert foreman._watcher is not None
    foreman._watcher.stop()  # the test does what it does, at its own pace
    watcher = Watcher(foreman._dispatcher)
    worker = Probe(0.001)
    node = foreman.add(worker)
    assert worker.started.wait(PATIENCE)

    def look() -> tuple[float, bool]:
        """A second after everything that was to be done there was done."""
        nonlocal now
        done = threading.Event()
        assert node.post(done.set)
        assert done.wait(PATIENCE)
        now += 1.0
        return watcher._watch(node)

    assert look() == (SHORTEST_LOOK, False)
    until(lambda: look() == (LONGEST_LOOK, False))
    for _ in range(10):
        assert look() == (LONGEST_LOOK, False)
        assert node.waiting(now) == 0.0
    worker.call_soon(worker.note, "work")
    assert look() == (SHORTEST_LOOK, False)


def test_a_holder_that_cannot_even_be_named(
    make_foreman: MakeForeman, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    class Nameless(Block):
        def __repr__(self) -> str:
            raise RuntimeError("no name")

    foreman = make_foreman(on_event=heard)
    nameless = Nameless(0.01)
    node = foreman.add(nameless)
    nameless.hold()
    until(lambda: "watching node-1 failed" in caplog.text)
    nameless.released.set()
    until(lambda: not node.stuck)
    blocker = Block(0.01)
    foreman.add(blocker)
    blocker.hold()
    heard.wait_for(Missed)
    blocker.released.set()


def test_a_node_that_is_busy_with_nobodys_code(foreman: Foreman, heard: Heard) -> None:
    worker = Probe(0.01)
    node = foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    released = threading.Event()
    until(lambda: not node.waiting(node.clock()))
    node.post(released.wait, PATIENCE)
    node.stamp(node.clock())
    (stuck,) = heard.wait_for(Stuck)
    assert stuck.holder is None
    assert "it is in" not in stuck.reason
    released.set()


def test_a_listener_on_the_watchers_thread_may_stop_the_foreman(
    make_foreman: MakeForeman,
) -> None:
    stopped = threading.Event()
    blocker = Block(0.01)

    def listen(event: object) -> None:
        if isinstance(event, Stuck):
            blocker.released.set()
            foreman.stop()
            stopped.set()

    foreman = make_foreman(on_event=listen)
    foreman.add(blocker)
    blocker.hold()
    assert stopped.wait(PATIENCE)
    assert foreman.nodes == ()
    until(lambda: not [t for t in threading.enumerate() if t.name == "foreman-watcher"])


def test_a_wait_that_ended_between_two_looks_is_told_too(foreman: Foreman, heard: Heard) -> None:
    node = foreman.add(Probe(0.5))
    assert node.post(setattr, node, "late", 0.75)
    missed = heard.wait_for(Missed)[0]
    assert (missed.wait, missed.required_latency) == (0.75, 0.5)
    assert not heard.all(Stuck)
