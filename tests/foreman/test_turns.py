"""Serving very many workers: one node after the other, in turns, and nobody left out."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from attrs import frozen

from foreman import Foreman, Node, Worker
from foreman.delivery import FEW
from foreman.mailbox import post_to_all
from foreman.turns import LENGTH, OVERDUE, Turns, turns

PATIENCE = 15.0
MANY = 4 * FEW


class Counting(Worker):
    """Takes calls and remembers them; written on its node's thread."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[object] = []


@frozen
class Note:
    """A call that many share."""

    number: int

    def __call__(self, worker: Counting) -> None:
        worker.calls.append(self.number)


@pytest.fixture
def foreman() -> Iterator[Foreman]:
    with Foreman(move_timeout=PATIENCE) as running:
        yield running


@pytest.fixture
def nodes(foreman: Foreman) -> list[Node]:
    return [foreman.spawn() for _ in range(2)]


def settle(foreman: Foreman, count: int, nodes: list[Node]) -> list[Counting]:
    """So many workers, in turn on each of the nodes."""
    workers = [Counting() for _ in range(count)]
    for worker in workers:
        foreman.add(worker)
    arrivals = [
        foreman.move(worker, nodes[number % len(nodes)]) for number, worker in enumerate(workers)
    ]
    assert all(arrival.result(PATIENCE) for arrival in arrivals)
    return workers


def flush(workers: list[Counting]) -> None:
    """Wait until each has had its calls so far."""
    done = threading.Semaphore(0)
    for worker in workers:
        worker.call_soon(done.release)
    for _ in workers:
        assert done.acquire(timeout=PATIENCE)


def test_one_node_after_the_other(nodes: list[Node]) -> None:
    one, other = (node.delivery for node in nodes)
    found = Turns()
    found._needed = True
    assert found.take(one, 1.0) is True
    assert found.take(one, 1.0) is True
    assert found.take(other, 1.001) is False
    assert found.take(other, 1.002) is False
    assert found.give(one, 1.002, more=True) is None
    assert found.give(other, 1.002, more=True) is None, "it is not the other's to give"
    assert found.take(other, 1.003) is False
    assert found.give(one, 1.003, more=False) is other
    assert found.take(other, 1.003) is True
    assert found.give(other, 1.003, more=False) is None
    assert found.take(one, 1.004) is True


def test_a_node_with_more_to_serve_gives_its_turn_back_in_time(nodes: list[Node]) -> None:
    one, other = (node.delivery for node in nodes)
    found = Turns()
    found._needed = True
    now = 1.0
    assert found.take(one, now) is True
    assert found.take(other, now) is False
    while found.give(one, now, more=True) is None:
        now += 1e-3
        assert found.take(one, now) is True
        assert now < 1.0 + 2 * LENGTH
    assert now >= 1.0 + LENGTH
    assert found.take(other, now) is True
    assert found.take(one, now) is False


def test_whoever_keeps_its_turn_is_passed_over(nodes: list[Node]) -> None:
    one, other = (node.delivery for node in nodes)
    found = Turns()
    found._needed = True
    assert found.take(one, 1.0) is True
    assert found.take(other, 1.0 + 2 * OVERDUE) is True
    assert found.give(one, 1.0 + 2 * OVERDUE, more=False) is None
    assert found.take(one, 1.0 + 2 * OVERDUE) is False, "it is the other's now"


def test_without_an_interpreter_lock_nobody_waits(nodes: list[Node]) -> None:
    one, other = (node.delivery for node in nodes)
    found = Turns()
    found._needed = False
    assert found.take(one, 1.0) is True
    assert found.take(other, 1.0) is True


def test_a_shared_call_reaches_each_once_and_in_order(foreman: Foreman, nodes: list[Node]) -> None:
    workers = settle(foreman, MANY, nodes)
    for number in range(20):
        workers[0].call_soon(workers[0].calls.append, -number)
        refused = post_to_all(workers, Note(number))
        assert refused == []
    flush(workers)
    assert workers[0].calls == [n for number in range(20) for n in (-number, number)]
    for worker in workers[1:]:
        assert worker.calls == list(range(20))
        assert worker.statistics().holds.count > 0


def test_one_that_raises_harms_no_other(foreman: Foreman, nodes: list[Node]) -> None:
    workers = settle(foreman, MANY, nodes)

    def call(worker: Counting) -> None:
        if worker is workers[3]:
            raise KeyError("no")
        worker.calls.append(1)

    assert post_to_all(workers, call) == []
    flush(workers)
    assert [len(worker.calls) for worker in workers] == [n != 3 for n in range(MANY)]
    assert workers[3].statistics().errors == 1


def test_the_limit_is_each_ones_own(foreman: Foreman, nodes: list[Node]) -> None:
    workers = settle(foreman, 3, nodes[:1])
    reached, go_on = threading.Event(), threading.Event()

    def block() -> None:
        reached.set()
        assert go_on.wait(PATIENCE)

    workers[0].call_soon(block)
    assert reached.wait(PATIENCE)
    call = Note(1)
    assert post_to_all(workers[:1], call, 60, 100) == []
    assert post_to_all(workers, call, 60, 100) == workers[:1]
    assert post_to_all(workers, call, 60, 100) == workers
    go_on.set()
    flush(workers)
    assert [len(worker.calls) for worker in workers] == [1, 1, 1]


def test_it_follows_those_that_move(foreman: Foreman, nodes: list[Node]) -> None:
    workers = settle(foreman, MANY, nodes)
    arrivals = []
    for number in range(50):
        moving = workers[number % MANY]
        arrivals.append(foreman.move(moving, nodes[number % 2]))
        post_to_all(workers, Note(number))
    for arrival in arrivals:
        arrival.result(PATIENCE)
    flush(workers)
    assert all(worker.calls == list(range(50)) for worker in workers)


def test_a_node_whose_turn_is_kept_goes_on_without(foreman: Foreman, nodes: list[Node]) -> None:
    """Another one has the turn of the whole process and does not give it back."""
    workers = settle(foreman, MANY, nodes[:1])
    assert turns.take(nodes[1].delivery, nodes[1].clock()) is True
    try:
        post_to_all(workers, Note(1))
        flush(workers)
    finally:
        following = turns.give(nodes[1].delivery, nodes[1].clock(), more=False)
        if following is not None:
            following.go_on()
    assert all(worker.calls == [1] for worker in workers)


def test_others_come_between(foreman: Foreman, nodes: list[Node]) -> None:
    """What is ready on the loop does not wait for all that were woken."""
    workers = settle(foreman, MANY, nodes[:1])
    node = nodes[0]
    served: list[Counting] = []
    seen: list[int] = []
    asked = threading.Event()

    def look() -> None:
        seen.append(len(served))
        asked.set()

    def call(worker: Counting) -> None:
        served.append(worker)
        if len(served) == 1:
            node.loop.call_soon(look)
        ends = node.clock() + 100e-6
        while node.clock() < ends:
            pass

    post_to_all(workers, call)
    assert asked.wait(PATIENCE)
    flush(workers)
    assert len(served) == MANY
    assert 1 <= seen[0] < MANY


def test_one_on_its_way_gets_it_where_it_arrives(foreman: Foreman) -> None:
    setting_out, go_on = threading.Event(), threading.Event()

    class Slow(Counting):
        async def attach(self, node: Node) -> None:
            setting_out.set()
            await node.loop.run_in_executor(None, go_on.wait, PATIENCE)

    worker = Slow()
    foreman.add(worker)
    assert setting_out.wait(PATIENCE)
    assert post_to_all([worker], Note(1)) == []
    go_on.set()
    flush([worker])
    assert worker.calls == [1]


def test_one_that_is_not_there_is_passed_over(foreman: Foreman, nodes: list[Node]) -> None:
    here, elsewhere = settle(foreman, 2, nodes)
    count = elsewhere.holds.runs + elsewhere.holds.total_runs
    nodes[0].delivery.wake_all([elsewhere, here])
    flush([here])
    assert elsewhere.holds.runs + elsewhere.holds.total_runs == count


def test_one_whose_delivery_itself_raises(foreman: Foreman, nodes: list[Node]) -> None:
    told = threading.Event()

    class Broken(Counting):
        def _deliver(self) -> None:
            super()._deliver()
            if self.calls[-1:] == [1]:
                raise KeyError("no")

        def on_error(self, error: BaseException) -> None:
            told.set()

    worker = Broken()
    foreman.add(worker)
    flush([worker])
    worker.holds.sampled = True  # its holds are long: each begins with a reading
    assert post_to_all([worker], Note(1)) == []
    assert told.wait(PATIENCE)
    assert post_to_all([worker], Note(2)) == []
    flush([worker])
    assert worker.calls == [1, 2]
    assert worker.statistics().errors == 1
