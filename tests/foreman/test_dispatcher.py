"""The Foreman acts by itself on what it measures: offenders, stuck nodes, nodes too many."""

from __future__ import annotations

import math
import re
import threading
from typing import Any

import pytest

from foreman import BestFit, Foreman, Node, NotMovable
from foreman.decisions import Spawn
from foreman.dispatcher import _forget_peaks
from foreman.events import Moved, Retired, Spawned, Stayed, Stuck
from foreman.interpreter import has_lock
from foreman.ledger import BELIEVED_AFTER
from tests.foreman.conftest import (
    PATIENCE,
    STRICT,
    Handler,
    Heard,
    MakeForeman,
    Probe,
    Reluctant,
    Told,
    groups_on,
    handle,
    handle_until,
    until,
)
from tests.foreman.simulation import SimNode

pytestmark = pytest.mark.alone


def neighbours(foreman: Foreman, count: int) -> tuple[Node, list[Handler]]:
    """Handlers on one node, each measured to be quick."""
    handlers = [Handler() for _ in range(count)]
    (node,) = {foreman.add(handler) for handler in handlers}
    handle(handlers, BELIEVED_AFTER)
    handle_until(handlers, lambda: all(group.measured for group in groups_on(foreman, node)))
    return node, handlers


def relieves(node: Node) -> re.Pattern[str]:
    """Why a slow one goes: for what another may wait, or first, if it took most of the time."""
    waits = rf"Handler declaring {STRICT} s might wait 0\.\d+ s"
    return re.compile(rf"relieves {node.name}, where ({waits}|Handler and others would need \d+%)")


# ---------------------------------------------------------------- offenders


def test_one_that_turns_slow_is_moved_away_and_its_victims_stay(
    foreman: Foreman, heard: Heard
) -> None:
    node, (offender, *victims) = neighbours(foreman, 4)
    offender.work = offender.sleep
    handle_until([offender, *victims], lambda: heard.all(Moved))
    handle([offender, *victims], 5)
    (moved,) = heard.all(Moved)
    assert (moved.worker, moved.old, moved.new) == (offender, node, offender.node)
    assert relieves(node).match(moved.reason)
    assert {victim.node for victim in victims} == {node}
    assert offender.node is not node


def test_several_that_sleep_get_a_node_each(make_foreman: MakeForeman, heard: Heard) -> None:
    foreman = make_foreman(on_event=heard, max_nodes=6)
    node, handlers = neighbours(foreman, 5)
    offenders, victims = handlers[:2], handlers[2:]
    for offender in offenders:
        offender.work = offender.sleep
    handle_until(handlers, lambda: len({offender.node for offender in offenders} | {node}) == 3)
    handle(handlers, 3)
    assert {victim.node for victim in victims} == {node}
    assert {event.worker for event in heard.wait_for(Moved, 2)} == set(offenders)


@pytest.mark.skipif(not has_lock(), reason="without an interpreter lock they would not share")
def test_several_that_compute_share_a_node(foreman: Foreman, heard: Heard) -> None:
    node, handlers = neighbours(foreman, 5)
    offenders, victims = handlers[:2], handlers[2:]
    for offender in offenders:
        offender.work = offender.burn
    handle_until(handlers, lambda: all(offender.node is not node for offender in offenders))
    handle(handlers, 5)
    assert len({offender.node for offender in offenders}) == 1
    assert {victim.node for victim in victims} == {node}
    assert {event.worker for event in heard.wait_for(Moved, 2)} == set(offenders)


# ---------------------------------------------------------------- stuck nodes


class Wedged(Handler):
    """Blocks its node, once asked to, until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def wait_for_a_lock_that_is_taken(self) -> None:
        assert self.released.wait(PATIENCE)


def test_a_stuck_node_is_replaced_and_rid_of_its_offender(
    foreman: Foreman, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    node, victims = neighbours(foreman, 3)
    wedged = Wedged()
    assert foreman.add(wedged) is node
    handle([wedged])
    wedged.work = wedged.wait_for_a_lock_that_is_taken
    wedged.call_soon(wedged.handle)
    (stuck,) = heard.wait_for(Stuck)
    assert (stuck.node, stuck.holder) == (node, wedged)
    assert "wait_for_a_lock_that_is_taken" in stuck.stack
    assert "wait_for_a_lock_that_is_taken" in caplog.text
    replacement = heard.wait_for(Spawned, 2)[1]
    assert replacement.reason.startswith(f"{node.name} is stuck and takes nobody; ")
    newcomers = [Handler() for _ in range(3)]
    for newcomer in newcomers:
        assert foreman.add(newcomer) is replacement.node
    handle(newcomers)
    assert node.stuck
    # So that it has been stuck for long beside what a busy machine does to the others.
    until(lambda: node.waiting(node.clock()) > 0.3)
    wedged.released.set()
    (moved,) = heard.wait_for(Moved)
    assert (moved.worker, moved.old) == (wedged, node)
    assert relieves(node).match(moved.reason)
    assert {victim.node for victim in victims} == {node}
    assert len(heard.all(Stuck)) == 1
    assert caplog.text.count("has not come round") == 1
    until(lambda: not node.stuck)
    for worker in (wedged, *newcomers):
        foreman.remove(worker).result(PATIENCE)
    late = Handler()
    assert foreman.add(late) is node
    handle([late, *victims])


# ---------------------------------------------------------------- merging


def quick() -> BestFit:
    return BestFit(patience=0.2, period=0.1)


def test_nodes_merge_after_a_calm_and_nothing_is_lost(
    make_foreman: MakeForeman, heard: Heard
) -> None:
    foreman = make_foreman(policy=quick(), on_event=heard)
    _, handlers = neighbours(foreman, 4)
    done = threading.Event()
    counts = [0] * len(handlers)

    def send(sender: int) -> None:
        pause = threading.Event()
        while not done.is_set():
            handlers[sender].call_soon(handlers[sender].note, counts[sender])
            counts[sender] += 1
            pause.wait(0.0005)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(len(handlers))]
    for thread in threads:
        thread.start()
    for _ in range(2):
        spread = [foreman.spawn(), foreman.spawn()]
        moves = [foreman.move(handlers[n], spread[n]) for n in range(2)]
        assert all(move.result(PATIENCE) for move in moves)
        until(lambda: len(foreman.nodes) == 1)
    done.set()
    for thread in threads:
        thread.join()
    heard.wait_for(Retired, 4)
    foreman.stop()  # so that no more are retired while they are looked at
    ended = [event.node for event in heard.all(Retired)]
    assert len(ended) == len(set(ended)) == len(heard.all(Spawned))
    assert "s of calm, what " in heard.all(Retired)[0].reason
    assert not any(node._thread.is_alive() for node in ended)
    for handler, count in zip(handlers, counts, strict=True):
        assert handler.log == ["start", *range(count), "stop"]
        assert handler.wrong == []


def test_an_idle_foreman_is_back_at_one_node(make_foreman: MakeForeman, heard: Heard) -> None:
    foreman = make_foreman(policy=quick(), on_event=heard, max_nodes=5)
    handlers = [Handler() for _ in range(8)]
    nodes = [foreman.spawn() for _ in range(4)]
    for n, handler in enumerate(handlers):
        foreman.add(handler)
        assert foreman.move(handler, nodes[n % 4]).result(PATIENCE)
    handle(handlers, BELIEVED_AFTER)
    until(lambda: len(foreman.nodes) == 1)
    handle(handlers)
    assert len(heard.wait_for(Retired, 3)) == 3
    assert foreman.nodes[0].name in {handler.node and handler.node.name for handler in handlers}
    running = [t for t in threading.enumerate() if t.name.startswith("node-")]
    until(lambda: sum(thread.is_alive() for thread in running) <= 2)  # and one in reserve


def test_one_that_could_not_leave_is_asked_again_although_it_sleeps(
    make_foreman: MakeForeman, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it was busy once is no reason to keep a node for it for ever."""
    monkeypatch.setattr("foreman.dispatcher.ASKED_AGAIN_AFTER", 2.5)
    monkeypatch.setattr("foreman.watcher.REST_AFTER", 0.1)
    foreman = make_foreman(policy=quick(), on_event=heard)
    workers = [Reluctant(), Reluctant()]
    foreman.add(workers[0])
    away = foreman.spawn()
    foreman.add(workers[1])
    assert foreman.move(workers[1], away).result(PATIENCE)
    for worker, node in zip(workers, reversed(foreman.nodes), strict=True):
        worker.detach_error = NotMovable("it is busy")
        assert not foreman.move(worker, node).result(PATIENCE)
        worker.detach_error = None
    assert len(heard.wait_for(Stayed, 2)) == 2
    until(lambda: len(foreman.nodes) == 1)


def test_what_one_did_long_ago_is_forgotten_while_it_rests(foreman: Foreman, heard: Heard) -> None:
    """By its meter, too: otherwise its next quick run would be charged with that long one."""
    _, (offender, *others) = neighbours(foreman, 4)
    offender.work = offender.sleep
    handle_until([offender, *others], lambda: heard.all(Moved))
    home = offender.node
    assert home is not None

    def forgotten() -> bool:
        assert home is not None
        foreman._dispatcher.rest(home)
        holds = [group.hold for group in groups_on(foreman, home)]
        return offender.holds.peak == 0.0 and max(holds) < STRICT

    until(forgotten)


class Hesitant(Handler):
    """Cannot be moved until it is free."""

    free = False

    @property
    def movable(self) -> bool:
        return self.free


def test_one_that_never_could_be_moved_is_asked_again_while_it_rests(foreman: Foreman) -> None:
    worker = Hesitant()
    node = foreman.add(worker)
    handle_until([worker], lambda: not any(group.movable for group in groups_on(foreman, node)))
    assert foreman._dispatcher.rest(node) < math.inf, "it is to be asked again"
    worked = threading.Event()
    node.post(worked.set)
    assert worked.wait(PATIENCE)
    assert not any(group.movable for group in groups_on(foreman, node))
    worker.free = True

    def asked() -> bool:
        foreman._dispatcher.rest(node)
        return all(group.movable for group in groups_on(foreman, node))

    until(asked)


def test_one_that_has_gone_is_not_counted_again_when_it_was_to_be_asked(foreman: Foreman) -> None:
    worker = Hesitant()
    node = foreman.add(worker)
    seat = worker._seat
    assert seat is not None
    foreman.remove(worker).result(PATIENCE)
    worker.free = True
    foreman._dispatcher._ask_again(node, [seat])
    assert groups_on(foreman, node) == ()


def test_what_one_did_is_forgotten_only_where_it_runs() -> None:
    """It may have gone on since: another node's thread does not touch its meter."""
    worker = Probe()
    here: Any = SimNode("node-1")
    elsewhere: Any = SimNode("node-2")
    worker._home = here
    worker.holds.peak = 0.5
    _forget_peaks(elsewhere, [worker])
    assert worker.holds.peak == 0.5
    _forget_peaks(here, [worker])
    assert worker.holds.peak == 0.0


def test_a_review_spawns_no_more_nodes_than_there_may_be(
    make_foreman: MakeForeman, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    policy = Told()
    foreman = make_foreman(policy=policy, on_event=heard, max_nodes=2)
    foreman.spawn("by hand")
    policy.order(foreman, lambda snapshot: [Spawn("as told")] * 3)
    assert [event.reason for event in heard.wait_for(Spawned, 2)] == ["by hand", "as told"]
    foreman.stop()  # so that nothing is told any more
    assert len(heard.all(Spawned)) == 2
    assert "the review failed" not in caplog.text
