"""What a worker is told, in which order and where; and what it may do wrong without harm."""

from __future__ import annotations

import asyncio
import threading

import pytest

from foreman import Foreman, NotRunning, Worker
from tests.foreman.conftest import PATIENCE, Block, Probe, until


def test_its_life(foreman: Foreman) -> None:
    worker = Probe()
    assert worker.node is None
    node = foreman.add(worker)
    assert worker.node is node
    for number in range(3):
        node.call_soon(worker, worker.note, number)
    foreman.remove(worker).result(PATIENCE)
    assert worker.log == ["start", 0, 1, 2, "stop"]
    assert worker.wrong == []
    assert worker.node is None


def test_hooks_may_all_be_left_out(foreman: Foreman) -> None:
    worker = Worker()
    foreman.add(worker)
    assert foreman.move(worker, foreman.spawn()).result(PATIENCE)
    foreman.remove(worker).result(PATIENCE)
    assert worker.statistics().errors == 0


def test_calls_need_a_foreman(foreman: Foreman) -> None:
    worker = Probe()
    with pytest.raises(NotRunning, match="was not added"):
        worker.call_soon(print)
    foreman.add(worker)
    foreman.remove(worker).result(PATIENCE)
    with pytest.raises(NotRunning):
        worker.call_soon(print)


ERRORS = [ValueError("no"), asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt()]


def raise_(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_one_that_raises_harms_nobody(foreman: Foreman, error: BaseException) -> None:
    """Nor its own later calls, nor neighbours whose calls came in the same batch."""
    blocker, bad, good = Block(), Probe(), Probe()
    for worker in (blocker, bad, good):
        foreman.add(worker)
    assert bad.node is good.node
    blocker.hold()
    bad.call_soon(raise_, error)
    bad.call_soon(bad.note, "after")
    done = threading.Event()
    good.call_soon(done.set)
    blocker.released.set()
    assert done.wait(PATIENCE)
    for worker in (bad, good):
        foreman.remove(worker).result(PATIENCE)
    assert bad.failures == [error]
    assert bad.statistics().errors == 1
    assert bad.log == ["start", "after", "stop"]
    assert good.failures == []


class Clumsy(Probe):
    """Every hook of it raises."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def on_start(self) -> None:
        super().on_start()
        raise self.error

    def on_stop(self) -> None:
        super().on_stop()
        raise self.error

    def on_error(self, error: BaseException) -> None:
        super().on_error(error)
        raise self.error


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_hooks_that_raise(
    foreman: Foreman, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Clumsy(error)
    foreman.add(worker)
    assert worker.started.wait(PATIENCE)
    assert foreman.move(worker, foreman.spawn()).result(PATIENCE)
    foreman.remove(worker).result(PATIENCE)
    assert worker.log == ["start", "stop"]
    assert worker.failures == [error, error]
    assert "raised in on_error" in caplog.text


def test_statistics_of_holds(foreman: Foreman) -> None:
    worker = Probe()
    before = worker.statistics()
    assert before.holds.count == before.waits.count == before.errors == 0
    foreman.add(worker)
    done = threading.Event()
    worker.call_soon(done.set)
    assert done.wait(PATIENCE)
    foreman.remove(worker).result(PATIENCE)
    holds = worker.statistics().holds
    assert holds.count >= 3
    assert 0 < holds.mean <= holds.worst


def test_statistics_of_waits(foreman: Foreman) -> None:
    """Waits are those of all workers of the same declared latency on the node."""
    busy, idle = Block(0.5), Probe(0.5)
    foreman.add(busy)
    foreman.add(idle)
    busy.hold()
    busy.released.set()
    until(lambda: idle.statistics().waits.count)
    assert idle.statistics().waits.worst >= idle.statistics().waits.mean > 0


def test_a_second_life(foreman: Foreman) -> None:
    worker = Probe()
    for _ in range(2):
        foreman.add(worker)
        foreman.remove(worker).result(PATIENCE)
    assert worker.log == ["start", "stop", "start", "stop"]
