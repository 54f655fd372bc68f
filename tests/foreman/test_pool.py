"""The threads behind the nodes: one in reserve, and none left over."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from foreman import Foreman
from foreman.events import Retired, Spawned
from tests.foreman.conftest import PATIENCE, Block, Heard, LoopFactory, MakeForeman, Probe, until


def threads() -> set[str]:
    """The nodes' threads that run."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("node-")}


def spare(foreman: Foreman) -> str:
    """The thread in reserve, once there is one."""
    counted = {node.name for node in foreman.nodes}
    until(lambda: threads() - counted)
    (name,) = threads() - counted
    return name


def test_a_foreman_without_nodes_keeps_no_thread(foreman: Foreman) -> None:
    for _ in range(3):
        foreman._dispatcher.review()
    assert threads() == set()


def test_one_is_in_reserve_and_is_the_next(foreman: Foreman, heard: Heard) -> None:
    foreman.add(Probe())
    in_reserve = spare(foreman)
    assert len(foreman.nodes) == 1
    assert len(foreman.statistics().nodes) == 1
    assert len(heard.all(Spawned)) == 1, "it is no node yet"
    assert foreman.spawn().name == in_reserve
    then = spare(foreman)
    assert then != in_reserve
    loose, strict = Probe(1.0), Probe(0.001)
    foreman.add(loose)
    foreman.add(strict)
    assert {node.name for node in foreman.nodes} == {"node-1", in_reserve}
    middle = Probe(0.03)
    assert foreman.add(middle).name == then, "neither of the others can keep what it declares"
    assert middle.started.wait(PATIENCE)


def test_none_is_in_reserve_at_the_cap(make_foreman: MakeForeman) -> None:
    foreman = make_foreman(max_nodes=2)
    foreman.spawn()
    spare(foreman)
    foreman.spawn()
    for _ in range(3):
        foreman._dispatcher.review()
    assert threads() == {node.name for node in foreman.nodes}


def test_stopping_ends_it_too_and_it_was_no_node(foreman: Foreman, heard: Heard) -> None:
    node = foreman.spawn()
    spare(foreman)
    foreman.stop()
    assert threads() == set()
    assert [event.node for event in heard.all(Retired)] == [node]


def test_a_loop_that_cannot_be_made_in_reserve_does_no_harm(
    make_foreman: MakeForeman, loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    broken = threading.Event()
    failures: list[None] = []

    def factory() -> asyncio.AbstractEventLoop:
        if broken.is_set():
            failures.append(None)
            raise OSError(24, "Too many open files")
        return loop_factory()

    caplog.set_level(logging.DEBUG, "foreman.pool")
    foreman = make_foreman(loop_factory=factory)
    worker = Probe()
    foreman.add(worker)
    broken.set()
    while len(threads()) > len(foreman.nodes):  # one was in reserve already
        foreman.spawn()
    with pytest.raises(OSError, match="Too many open files"):
        foreman.spawn()
    late = Probe()
    foreman.add(late)
    assert late.started.wait(PATIENCE)
    until(lambda: "no node in reserve: [Errno 24]" in caplog.text)
    assert "the review failed" not in caplog.text
    broken.clear()
    until(lambda: len(threads()) > len(foreman.nodes))
    foreman.remove(worker).result(PATIENCE)


def test_a_node_that_ends_slowly_is_waited_for_by_stop(foreman: Foreman) -> None:
    """A node is dismissed without waiting for it, but stop does wait."""
    blocker = Block()
    node = foreman.add(blocker)
    pool = foreman._dispatcher._seating.pool
    released = threading.Event()
    other = foreman.spawn()
    assert other.post(released.wait, PATIENCE)
    with foreman._dispatcher.lock:
        foreman._dispatcher._seating.ledger.strike_off(other)
        pool.dismiss(other)
    assert other._thread.is_alive()
    assert foreman.nodes == (node,)
    stopping = threading.Thread(target=foreman.stop)
    stopping.start()
    until(lambda: foreman.nodes == ())
    released.set()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    assert not other._thread.is_alive()
    assert threads() == set()


def test_a_node_that_ended_before_it_is_dismissed_is_not_kept(foreman: Foreman) -> None:
    node = foreman.spawn()
    pool = foreman._dispatcher._seating.pool
    assert node.stop(PATIENCE)
    with foreman._dispatcher.lock:
        foreman._dispatcher._seating.ledger.strike_off(node)
        pool.dismiss(node)
        assert pool._dismissed == []
