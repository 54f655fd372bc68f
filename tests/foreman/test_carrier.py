"""Workers between nodes: order, futures, and hooks that fail, hang or are cut short."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait

import pytest

from foreman import Foreman, Node, NotMovable, NotRunning
from foreman.decisions import Retire
from foreman.events import Moved, Retired, Stayed
from tests.foreman.conftest import (
    PATIENCE,
    Block,
    Heard,
    MakeForeman,
    Probe,
    Reluctant,
    Told,
    opened,
    until,
)

BRIEF = 0.02  # a `move_timeout`, seconds


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
    foreman = make_foreman(move_timeout=BRIEF, on_event=heard)
    worker = Reluctant()
    worker.may_leave.clear()
    home = foreman.add(worker)
    assert foreman.move(worker, foreman.spawn()).result(PATIENCE) is False
    reason = heard.wait_for(Stayed)[0].reason
    assert reason == "stayed: it had not let go of node-1 after 0.02 s"
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


class Careless(Reluctant):
    """Raises in what the kinds of workers override to learn that they end."""

    def _left(self) -> None:
        raise RuntimeError("as it left")

    def _fail(self, error: BaseException) -> None:
        super()._fail(error)
        if self.log == ["start"]:
            raise RuntimeError("as it failed")


@pytest.mark.parametrize("ended", [True, False], ids=["node ended", "cannot arrive"])
def test_one_that_raises_when_it_ends_is_let_go_all_the_same(
    foreman: Foreman, caplog: pytest.LogCaptureFixture, ended: bool
) -> None:
    worker = Careless()
    foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    target = foreman.spawn()
    if ended:
        assert target.stop(PATIENCE)
    else:
        worker.attach_error = OSError("no descriptor")
    assert foreman.move(worker, target).result(PATIENCE) is False
    assert worker.node is None
    assert foreman.statistics().workers == 0
    foreman.remove(worker).result(PATIENCE)
    text = "raised on leaving" if ended else "raised when it was told of its failure"
    assert text in caplog.text


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


# ---------------------------------------------------------------- hooks that do not end


class Stubborn(Reluctant):
    """Its hooks wait at their gates whatever they are told.

    Args:
        way: What they do when they are cancelled or closed.
    """

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.cancelled = threading.Event()
        self.went_on = False

    async def detach(self) -> None:
        self.leaving.set()
        await self.wait_at(self.may_leave)
        await super().detach()

    async def attach(self, node: Node) -> None:
        self.arriving.set()
        await self.wait_at(self.may_arrive)
        await super().attach(node)

    async def wait_at(self, gate: threading.Event) -> None:
        if gate.is_set():
            return
        if self.way == "waits for a task":  # which is not ended by ending who waits for it
            await asyncio.create_task(self.persist(gate, asyncio.CancelledError))
        elif self.way == "swallows cancellation":
            await self.persist(gate, asyncio.CancelledError)
        elif self.way == "swallows everything":
            await self.persist(gate, BaseException)
        elif self.way == "tidies up for ever":
            try:
                await opened(gate)
            finally:
                self.cancelled.set()
                await opened(gate)
        else:
            await opened(gate)
        self.went_on = True

    async def persist(self, gate: threading.Event, swallowed: type[BaseException]) -> None:
        while not gate.is_set():
            try:
                await asyncio.sleep(0.001)
            except swallowed:
                self.cancelled.set()


WAYS = [
    "swallows cancellation",
    "swallows everything",
    "waits for a task",
    "tidies up for ever",
]
# What a coroutine that even ignores its end says when it is freed.
STUBBORN_TO_THE_END = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def hasty(make_foreman: MakeForeman, heard: Heard) -> Foreman:
    """A Foreman with little patience."""
    return make_foreman(move_timeout=BRIEF, on_event=heard)


def nothing_is_left_on(node: Node) -> None:
    """No task of a hook that was given up, or of a carry, once all that is ready has run."""
    until(lambda: not node._tasks)


@STUBBORN_TO_THE_END
@pytest.mark.parametrize("way", ["obeys", *WAYS])
@pytest.mark.parametrize("first", [True, False], ids=["the first time", "after a move"])
def test_one_that_never_arrives_is_let_go(
    hasty: Foreman, way: str, first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Stubborn(way)
    if first:
        worker.may_arrive.clear()
        target = hasty.add(worker)
    else:
        hasty.add(worker)
        assert worker.started.wait(PATIENCE)
        target = hasty.spawn()
        worker.may_arrive.clear()
        moved = hasty.move(worker, target)
    removed = hasty.remove(worker) if first else None
    if first:
        assert removed is not None
        removed.result(PATIENCE)
    else:
        assert moved.result(PATIENCE) is False
    until(lambda: worker.node is None)
    assert worker.log == ([] if first else ["start", "stop"])
    assert [str(error) for error in worker.failures] == [
        f"it had not arrived on {target.name} after 0.02 s"
    ]
    assert isinstance(worker.failures[0], TimeoutError)
    assert ("would not end" in caplog.text) is (way != "obeys")
    assert hasty.statistics().workers == 0
    assert not hasty._dispatcher._seating.bound
    worker.may_arrive.set()
    nothing_is_left_on(target)
    assert not worker.went_on, "what was given up does not go on"
    assert worker._home is None
    worker.wrong.clear()  # it was stopped without being attached, of course
    hasty.add(worker)
    gone(hasty, worker)


@STUBBORN_TO_THE_END
@pytest.mark.parametrize("way", WAYS)
def test_one_that_will_not_even_be_cancelled_stays_and_works(
    hasty: Foreman, heard: Heard, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Stubborn(way)
    home, away = hasty.add(worker), hasty.spawn()
    assert worker.started.wait(PATIENCE)
    worker.may_leave.clear()
    assert hasty.move(worker, away).result(PATIENCE) is False
    (stayed,) = heard.wait_for(Stayed)
    assert stayed.reason == "stayed: it had not let go of node-1 after 0.02 s"
    assert worker.cancelled.wait(PATIENCE)
    assert "would not end" in caplog.text
    assert worker.node is worker._home is home
    worked = threading.Event()
    worker.call_soon(worker.note, "work")
    worker.call_soon(worked.set)
    assert worked.wait(PATIENCE)
    worker.may_leave.set()
    nothing_is_left_on(home)
    assert not worker.went_on, "what was given up does not go on"
    assert worker._home is home
    assert hasty.move(worker, away).result(PATIENCE) is True
    gone(hasty, worker)
    assert worker.log == ["start", "work", "stop"]


@STUBBORN_TO_THE_END
@pytest.mark.parametrize("way", WAYS)
def test_removed_while_it_will_not_let_go(hasty: Foreman, heard: Heard, way: str) -> None:
    worker = Stubborn(way)
    home, away = hasty.add(worker), hasty.spawn()
    assert worker.started.wait(PATIENCE)
    worker.may_leave.clear()
    moved = hasty.move(worker, away)
    assert worker.leaving.wait(PATIENCE)
    gone(hasty, worker)
    assert moved.result(PATIENCE) is False
    assert worker.log == ["start", "stop"]
    assert heard.all(Stayed) == []
    worker.may_leave.set()
    nothing_is_left_on(home)
    assert not worker.went_on
    assert not hasty._dispatcher._seating.bound


def test_one_that_lets_go_although_it_was_cancelled_is_carried(make_foreman: MakeForeman) -> None:
    foreman = make_foreman(move_timeout=10 * BRIEF)

    class Late(Reluctant):
        async def detach(self) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await super().detach()

    worker = Late()
    foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    assert foreman.move(worker, foreman.spawn()).result(PATIENCE) is True
    gone(foreman, worker)
    assert worker.log == ["start", "stop"]


def test_what_others_take_of_a_node_is_not_held_against_one_that_arrives(hasty: Foreman) -> None:
    """It needs a few turns of the loop, of which the first takes longer than there is patience."""

    class Held(Probe):
        async def attach(self, node: Node) -> None:
            await asyncio.sleep(0)
            time.sleep(5 * BRIEF)  # noqa: ASYNC251
            for _ in range(5):
                await asyncio.sleep(0)
            await super().attach(node)

    worker = Held()
    hasty.add(worker)
    assert worker.started.wait(PATIENCE)
    gone(hasty, worker)
    assert worker.failures == []


@pytest.mark.parametrize("hook", ["attach", "detach"])
def test_a_retiring_node_does_not_wait_for_a_hook_that_never_ends(
    make_foreman: MakeForeman, heard: Heard, hook: str
) -> None:
    """Whoever does not arrive is let go; whoever does not leave calls the whole off."""
    policy = Told()
    foreman = make_foreman(policy=policy, on_event=heard, move_timeout=BRIEF)
    shelter, worker = foreman.spawn(), Stubborn("swallows cancellation")
    home = foreman.spawn()
    foreman.add(worker)
    assert foreman.move(worker, home).result(PATIENCE)
    (worker.may_arrive if hook == "attach" else worker.may_leave).clear()
    policy.order(foreman, Retire(home.name, "as told"))
    if hook == "attach":
        (retired,) = heard.wait_for(Retired)
        assert retired.node is home
        until(lambda: worker.node is None)
    else:
        heard.wait_for(Stayed)
        until(lambda: not foreman._dispatcher._evacuations)
        assert foreman.nodes == (shelter, home)
        gone(foreman, worker)
    worker.may_arrive.set()
    worker.may_leave.set()
    foreman.stop()
    assert not foreman._dispatcher._seating.bound
    assert worker.log == ["start", "stop"]


@pytest.mark.parametrize("way", ["obeys", "swallows cancellation"])
@pytest.mark.parametrize("hook", ["attach", "detach"])
def test_stopping_does_not_wait_for_a_hook_that_never_ends(
    hasty: Foreman, hook: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Stubborn(way)
    hasty.add(worker)
    assert worker.started.wait(PATIENCE)
    (worker.may_arrive if hook == "attach" else worker.may_leave).clear()
    hasty.move(worker, hasty.spawn())
    assert (worker.arriving if hook == "attach" else worker.leaving).wait(PATIENCE)
    hasty.stop()
    assert worker.node is None
    assert worker.log == ["start", "stop"]
    assert "did not end in time" not in caplog.text


def test_hooks_that_are_no_coroutines(foreman: Foreman, heard: Heard) -> None:
    class Plain(Probe):
        def detach(self) -> None:  # type: ignore[override]
            pass

    class Plainer(Probe):
        def attach(self, node: Node) -> None:  # type: ignore[override]
            pass

    worker, other = Plain(), Plainer()
    foreman.add(worker)
    assert foreman.move(worker, foreman.spawn()).result(PATIENCE) is False
    assert "can't be used in 'await' expression" in heard.wait_for(Stayed)[0].reason
    gone(foreman, worker)
    foreman.add(other)
    until(lambda: other.node is None)
    assert "can't be used in 'await' expression" in str(other.failures[0])
