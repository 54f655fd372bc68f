"""Workers between nodes: order, futures, and hooks that fail, hang or are cut short."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

import pytest

from foreman import Foreman, NotMovable, NotRunning
from foreman.events import Moved, Stayed
from tests.foreman.conftest import PATIENCE, Block, Heard, MakeForeman, Probe, Reluctant, until


def gone(foreman: Foreman, worker: Probe) -> None:
    foreman.remove(worker).result(PATIENCE)
    assert worker.node is None
    assert worker.wrong == []


def test_each_senders_order_is_kept_while_the_worker_moves(foreman: Foreman) -> None:
    """Nothing lost, nothing doubled, never two at once, never where it is not attached."""
    worker = Probe()
    foreman.add(worker)
    nodes = [foreman.spawn() for _ in range(3)]
    senders, each = 4, 3000
    finished = threading.Event()

    def send(sender: int) -> None:
        for number in range(each):
            worker.call_soon(worker.note, (sender, number))
            if number % 50 == 0:
                threading.Event().wait(0.001)  # so that the sending lasts as long as the moving

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(senders)]
    for thread in threads:
        thread.start()
    moves = 0
    while moves < 2000 or any(thread.is_alive() for thread in threads):
        assert foreman.move(worker, nodes[moves % 3]).result(PATIENCE)
        moves += 1
    for thread in threads:
        thread.join()
    worker.call_soon(finished.set)
    assert finished.wait(PATIENCE)
    gone(foreman, worker)
    assert worker.log[0] == "start"
    assert worker.log[-1] == "stop"
    received = worker.log[1:-1]
    for sender in range(senders):
        assert [n for s, n in received if s == sender] == list(range(each))


def test_moves_latencies_and_calls_from_many_threads_at_once(make_foreman: MakeForeman) -> None:
    foreman = make_foreman(max_nodes=4)
    workers = [Probe(0.5) for _ in range(6)]
    for worker in workers:
        foreman.add(worker)
    while len(foreman.nodes) < 4:
        foreman.spawn()
    futures: list[Future[bool]] = []
    errors: list[BaseException] = []

    def disturb(seed: int) -> None:
        try:
            for turn in range(200):
                worker = workers[(seed + turn) % 6]
                futures.append(foreman.move(worker, foreman.nodes[(seed * turn) % 4]))
                worker.required_latency = 0.1 + 0.01 * ((seed + turn) % 7)
                worker.call_soon(worker.note, (seed, turn))
                foreman.statistics()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=disturb, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert not wait(futures, PATIENCE).not_done
    for worker in workers:
        gone(foreman, worker)
    notes = [note for worker in workers for note in worker.log if isinstance(note, tuple)]
    assert sorted(notes) == [(seed, turn) for seed in range(4) for turn in range(200)]
    assert foreman.statistics().workers == 0


def test_a_move_is_told_with_its_pause_and_reason(foreman: Foreman, heard: Heard) -> None:
    worker = Probe()
    old = foreman.add(worker)
    new = foreman.spawn()
    assert foreman.move(worker, new, "for the view").result(PATIENCE)
    (moved,) = heard.wait_for(Moved)
    assert (moved.worker, moved.old, moved.new) == (worker, old, new)
    assert moved.reason == "for the view"
    assert moved.pause > 0
    assert worker.node is new
    assert old.workers == ()
    assert new.workers == (worker,)
    assert worker.log == ["start"]


def test_a_move_to_where_it_is_is_done_at_once(foreman: Foreman, heard: Heard) -> None:
    worker = Probe()
    here = foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    until(lambda: foreman.move(worker, here).done())
    assert foreman.move(worker, here).result(0)
    assert heard.all(Moved) == []


@pytest.fixture
def settled(foreman: Foreman) -> Reluctant:
    """A worker that has arrived."""
    worker = Reluctant()
    foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    worker.arriving.clear()
    return worker


def test_a_second_move_overtakes_the_first(foreman: Foreman, settled: Reluctant) -> None:
    first, second = foreman.spawn(), foreman.spawn()
    settled.may_leave.clear()
    to_first = foreman.move(settled, first)
    assert settled.leaving.wait(PATIENCE)
    to_second = foreman.move(settled, second)
    assert settled.node is second
    settled.may_leave.set()
    assert to_second.result(PATIENCE) is True
    assert to_first.result(PATIENCE) is False, "it was sent elsewhere"
    gone(foreman, settled)


def test_a_move_back_during_the_move_comes_back(foreman: Foreman, settled: Reluctant) -> None:
    home, away = settled.node, foreman.spawn()
    assert home is not None
    settled.may_arrive.clear()
    there = foreman.move(settled, away)
    assert settled.arriving.wait(PATIENCE)
    back = foreman.move(settled, home)
    settled.may_arrive.set()
    assert back.result(PATIENCE) is True
    assert there.result(PATIENCE) is False
    assert settled.node is home
    gone(foreman, settled)


def test_a_move_withdrawn_before_it_began_does_not_happen(
    make_foreman: MakeForeman, heard: Heard
) -> None:
    foreman = make_foreman(on_event=heard)
    blocker = Block()
    home = foreman.add(blocker)
    away = foreman.spawn()
    blocker.hold()
    there = foreman.move(blocker, away)
    back = foreman.move(blocker, home)
    blocker.released.set()
    assert back.result(PATIENCE) is True
    assert there.result(PATIENCE) is False
    assert heard.all(Moved) == []


def test_removed_while_it_lets_go(foreman: Foreman, settled: Reluctant) -> None:
    away = foreman.spawn()
    settled.may_leave.clear()
    moved = foreman.move(settled, away)
    assert settled.leaving.wait(PATIENCE)
    removals = [foreman.remove(settled) for _ in range(2)]
    with pytest.raises(NotRunning):
        foreman.move(settled, away)
    settled.may_leave.set()
    assert not wait(removals, PATIENCE).not_done
    assert moved.result(PATIENCE) is False
    assert settled.log == ["start", "stop"]
    assert settled.wrong == []
    assert foreman.remove(settled).done()


def test_removed_while_it_cannot_let_go(foreman: Foreman, settled: Reluctant) -> None:
    settled.may_leave.clear()
    settled.detach_error = NotMovable("not now")
    moved = foreman.move(settled, foreman.spawn())
    assert settled.leaving.wait(PATIENCE)
    removed = foreman.remove(settled)
    settled.may_leave.set()
    removed.result(PATIENCE)
    assert moved.result(PATIENCE) is False
    assert settled.log == ["start", "stop"]


def test_removed_before_it_arrived(foreman: Foreman) -> None:
    worker = Reluctant()
    worker.may_arrive.clear()
    foreman.add(worker)
    assert worker.arriving.wait(PATIENCE)
    removed = foreman.remove(worker)
    worker.may_arrive.set()
    removed.result(PATIENCE)
    assert worker.log == ["start", "stop"]
    assert worker.wrong == []


@pytest.mark.parametrize(
    "error",
    [NotMovable("not now"), RuntimeError("broken"), asyncio.CancelledError(), SystemExit(3)],
    ids=lambda error: type(error).__name__,
)
def test_one_that_does_not_let_go_stays_and_works(
    foreman: Foreman, heard: Heard, settled: Reluctant, error: BaseException
) -> None:
    home = settled.node
    settled.detach_error = error
    assert foreman.move(settled, foreman.spawn()).result(PATIENCE) is False
    (stayed,) = heard.wait_for(Stayed)
    assert (stayed.worker, stayed.node) == (settled, home)
    assert (str(error) or type(error).__name__) in stayed.reason
    assert settled.node is home
    worked = threading.Event()
    settled.call_soon(worked.set)
    assert worked.wait(PATIENCE)
    settled.detach_error = None
    assert foreman.move(settled, foreman.nodes[-1]).result(PATIENCE) is True
    gone(foreman, settled)


class Rooted(Probe):
    @property
    def movable(self) -> bool:
        return False


def test_one_that_is_not_movable_is_not_asked_to_let_go(foreman: Foreman, heard: Heard) -> None:
    worker = Rooted()
    foreman.add(worker)
    assert foreman.move(worker, foreman.spawn()).result(PATIENCE) is False
    assert "cannot leave its node now" in heard.wait_for(Stayed)[0].reason
    gone(foreman, worker)


def test_one_that_takes_too_long_to_let_go_stays(make_foreman: MakeForeman, heard: Heard) -> None:
    foreman = make_foreman(move_timeout=0.02, on_event=heard)
    worker = Reluctant()
    worker.may_leave.clear()
    home = foreman.add(worker)
    assert foreman.move(worker, foreman.spawn()).result(PATIENCE) is False
    assert heard.wait_for(Stayed)[0].reason == "stayed: TimeoutError"
    assert worker.node is home
    gone(foreman, worker)


@pytest.mark.parametrize(
    "error", [OSError("no descriptor"), asyncio.CancelledError(), KeyboardInterrupt()]
)
def test_one_that_cannot_arrive_is_let_go(
    foreman: Foreman, settled: Reluctant, error: BaseException
) -> None:
    settled.attach_error = error
    assert foreman.move(settled, foreman.spawn()).result(PATIENCE) is False
    until(lambda: settled.node is None)
    assert settled.failures[0] is error
    assert settled.log == ["start", "stop"], "what was started is stopped"
    with pytest.raises(NotRunning):
        settled.call_soon(print)
    settled.attach_error = None
    settled.wrong.clear()  # it was stopped without being attached, of course
    foreman.add(settled)
    gone(foreman, settled)


def test_one_that_never_arrived_was_never_started(foreman: Foreman) -> None:
    worker = Reluctant()
    worker.attach_error = OSError("no descriptor")
    foreman.add(worker)
    until(lambda: worker.node is None)
    assert worker.log == []
    assert worker.failures == [worker.attach_error]
    assert foreman.statistics().workers == 0


def test_futures_cannot_be_cancelled_so_nobody_beside_them_hangs(
    foreman: Foreman, settled: Reluctant
) -> None:
    settled.may_leave.clear()
    away = foreman.spawn()
    moves = [foreman.move(settled, away) for _ in range(2)]
    removals = [foreman.remove(settled) for _ in range(2)]
    assert not moves[0].cancel()
    assert not removals[0].cancel()
    settled.may_leave.set()
    assert not wait(moves, PATIENCE).not_done
    assert not wait(removals, PATIENCE).not_done


def test_waiting_for_a_future_in_asyncio_may_be_given_up(
    foreman: Foreman, settled: Reluctant
) -> None:
    settled.may_leave.clear()
    moved = foreman.move(settled, foreman.spawn())

    async def give_up() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(moved), 0.01)

    asyncio.run(give_up())
    settled.may_leave.set()
    assert moved.result(PATIENCE) is True
    gone(foreman, settled)


class Restless(Probe):
    """Does something to itself in `on_start`."""

    def __init__(self, act: Callable[[Restless], object]) -> None:
        super().__init__()
        self.act = act

    def on_start(self) -> None:
        super().on_start()
        self.act(self)


def test_removed_by_itself_as_soon_as_it_starts(foreman: Foreman) -> None:
    worker = Restless(foreman.remove)
    foreman.add(worker)
    assert worker.stopped.wait(PATIENCE)
    until(lambda: worker.node is None)
    assert worker.log == ["start", "stop"]


def test_calls_handed_over_before_a_removal_come_before_the_end(foreman: Foreman) -> None:
    def act(worker: Restless) -> None:
        worker.call_soon(worker.note, "work")
        foreman.remove(worker)

    worker = Restless(act)
    foreman.add(worker)
    assert worker.stopped.wait(PATIENCE)
    assert worker.log == ["start", "work", "stop"]


def test_calls_and_a_removal_at_any_time(foreman: Foreman) -> None:
    """Whatever a thread handed over before it removed the worker is done before the end."""
    nodes = [foreman.spawn() for _ in range(2)]
    for turn in range(300):
        worker = Probe()
        foreman.add(worker)
        if turn % 2:
            foreman.move(worker, nodes[turn % 4 // 2])
        worker.call_soon(worker.note, "work")
        foreman.remove(worker).result(PATIENCE)
        assert worker.log == ["start", "work", "stop"]
        assert worker.wrong == []


def test_moved_by_itself_as_soon_as_it_starts(foreman: Foreman) -> None:
    away = foreman.spawn()
    other = foreman.spawn()
    moves: list[Future[bool]] = []

    def act(worker: Restless) -> None:
        moves.append(foreman.move(worker, away if worker.node is other else other))

    worker = Restless(act)
    foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    until(lambda: moves)
    assert moves[0].result(PATIENCE) is True
    gone(foreman, worker)


def test_a_node_that_ended_takes_nobody(
    make_foreman: MakeForeman, caplog: pytest.LogCaptureFixture
) -> None:
    """No node ends by itself; should one, whoever is sent there is let go and nobody hangs."""
    foreman = make_foreman()
    worker, late = Probe(), Probe()
    home = foreman.add(worker)
    dead = foreman.spawn()
    assert worker.started.wait(PATIENCE)
    assert dead.stop(PATIENCE)
    assert foreman.move(worker, dead).result(PATIENCE) is False
    assert worker.node is None
    assert "runs nowhere any more: node-2 has stopped" in caplog.text
    foreman.add(late)
    assert late.started.wait(PATIENCE)
    assert home.stop(PATIENCE)
    assert late.node is None, "what a node leaves behind is forgotten"
    foreman.remove(late).result(PATIENCE)
    assert not foreman._dispatcher._seating.bound, "nor are those nodes remembered"


def test_a_carry_that_finds_its_node_ended_lets_the_worker_go_once(
    foreman: Foreman, settled: Reluctant
) -> None:
    seat, dead = settled._seat, foreman.spawn()
    assert seat is not None
    assert dead.stop(PATIENCE)
    for _ in range(2):
        foreman._dispatcher._carrier.fetch(settled, seat, dead)
    assert settled.node is None
    assert foreman.statistics().workers == 0
    assert not foreman._dispatcher._seating.bound


def test_moved_off_a_node_that_ended(make_foreman: MakeForeman) -> None:
    foreman = make_foreman()
    blocker = Block()
    home = foreman.add(blocker)
    away = foreman.spawn()
    blocker.hold()
    moved = foreman.move(blocker, away)
    ended = threading.Thread(target=home.stop, args=(PATIENCE,))
    ended.start()
    blocker.released.set()
    ended.join()
    assert moved.result(PATIENCE) in (True, False)
    foreman.remove(blocker).result(PATIENCE)
