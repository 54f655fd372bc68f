"""Everything at once, for a few seconds: nothing is lost, nothing is left."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from foreman import BestFit, Foreman, Infeasible, Node, NotMovable, NotRunning
from foreman.mailbox import mailbox_of
from tests.foreman.conftest import PATIENCE, MakeForeman, Probe, until

SECONDS = 2.0
LATENCIES = (0.01, 0.05, 0.2, 1.0)


class Busy(Probe):
    """Sleeps a little in its handlers and hooks, and now and then cannot leave."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.handed_over = 0
        self.handing_over = threading.Lock()

    def handle(self, number: int) -> None:
        self._enter()
        if not number % 16:
            time.sleep(self.random.choice((0.0, 0.001, 0.002, 0.02)))
        self.log.append(number)
        self._inside = False

    def hand_over(self) -> None:
        """Another call, numbered in the order in which they are handed over."""
        with self.handing_over:
            self.call_soon(self.handle, self.handed_over)
            self.handed_over += 1

    async def detach(self) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.0, 0.001)))
        if self.random.random() < 0.02:
            raise NotMovable("it would rather not")
        await super().detach()

    async def attach(self, node: Node) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.0, 0.001)))
        await super().attach(node)


def add(foreman: Foreman, worker: Busy) -> None:
    try:
        foreman.add(worker)
    except (ValueError, Infeasible):  # it is there, or there is no room
        pass


def move(foreman: Foreman, worker: Busy) -> None:
    nodes = foreman.nodes
    if nodes:
        foreman.move(worker, worker.random.choice(nodes))


def spawn(foreman: Foreman, worker: Busy) -> None:
    try:
        foreman.spawn()
    except Infeasible:
        pass


def declare(foreman: Foreman, worker: Busy) -> None:
    try:
        worker.required_latency = worker.random.choice(LATENCIES)
    except Infeasible:
        pass


ACTS: tuple[tuple[int, Callable[[Foreman, Busy], object]], ...] = (
    (8, add),
    (3, lambda foreman, worker: foreman.remove(worker)),
    (8, move),
    (1, spawn),
    (4, declare),
    (40, lambda foreman, worker: worker.hand_over()),
)


def test_everything_at_once(make_foreman: MakeForeman) -> None:
    policy = BestFit(patience=0.1, period=0.05)
    foreman = make_foreman(policy=policy, max_nodes=6, move_timeout=0.5)
    workers = [Busy(seed) for seed in range(24)]
    ends = time.monotonic() + SECONDS
    errors: list[BaseException] = []
    weights, acts = zip(*ACTS, strict=True)

    def disturb(seed: int) -> None:
        choices, pause = random.Random(seed), threading.Event()
        try:
            while time.monotonic() < ends:
                (act,) = choices.choices(acts, weights)
                try:
                    act(foreman, choices.choice(workers))
                except NotRunning:  # it was removed, or the node was retired
                    pass
                pause.wait(choices.choice((0.0, 0.0002, 0.001)))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=disturb, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for gone in [foreman.remove(worker) for worker in workers]:
        gone.result(PATIENCE)
    for worker in workers:
        assert worker.wrong == []
        assert worker.failures == []
        assert worker.node is None
        lives = Counter(what for what in worker.log if isinstance(what, str))
        assert lives["start"] == lives["stop"]
        state = "stop"
        for what in worker.log:
            if isinstance(what, str):
                assert what != state, "one start, one stop, and again"
                state = what
            else:
                assert state == "start", "nothing runs before the start and after the end"
        numbers = [what for what in worker.log if not isinstance(what, str)]
        assert numbers == sorted(set(numbers)), "in order, none twice"
        kept = mailbox_of(worker).take()  # handed over when it was all but gone
        assert len(numbers) + len(kept) == worker.handed_over, "none lost"
    statistics = foreman.statistics()
    assert statistics.workers == 0
    assert statistics.events["moved"] > 100
    until(lambda: not foreman._dispatcher._evacuations)
    until(lambda: len(foreman.nodes) == 1)
    assert foreman.statistics().events["retired"] > 0
    foreman.stop()
    assert not foreman._dispatcher._seating.bound
    assert not foreman._dispatcher._seating.pool._dismissed
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("node-")])
