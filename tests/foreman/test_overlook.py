"""Upkeep is no work: it is overlooked where it is short, and was all there was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from foreman import Foreman, Worker
from foreman.meters import LONG_HOLD


def done(worker: Worker, function: Callable[[], object]) -> None:
    """Have it run as the worker's, and wait for that."""
    ended = threading.Event()
    worker.call_soon(function)
    worker.call_soon(ended.set)
    assert ended.wait(10)


def settled(worker: Worker) -> int:
    """How often it has run, once its account is closed."""
    node = worker.node
    assert node is not None
    ends = time.monotonic() + 10
    while node._accounts.is_open:
        assert time.monotonic() < ends
        time.sleep(0.01)
    return worker.holds.total_runs


@pytest.mark.parametrize("length", [0.0, 20 * LONG_HOLD], ids=["short", "long"])
def test_of_what_is_overlooked_only_the_long_counts(length: float) -> None:
    with Foreman() as foreman:
        worker = Worker()
        foreman.add(worker)
        done(worker, lambda: None)
        before = settled(worker)
        node = worker.node
        assert node is not None
        ended = threading.Event()

        def upkeep() -> None:
            worker.holds.overlook()
            time.sleep(length)
            node.loop.call_soon(ended.set)

        worker.call_soon(upkeep)
        assert ended.wait(10)
        assert worker.holds.aside is False
        if not length:
            # On a machine that is very busy it may have been a long one, too.
            assert worker.holds.runs == 0 or worker.holds.longest > LONG_HOLD
        else:
            assert settled(worker) == before + 1
            assert worker.holds.worst >= length


def test_what_runs_in_the_same_window_is_counted() -> None:
    with Foreman() as foreman:
        worker = Worker()
        foreman.add(worker)
        done(worker, lambda: None)
        before = settled(worker)
        for function in (lambda: None, worker.holds.overlook, lambda: None):
            ended = threading.Event()
            worker.call_soon(function)
            worker.call_soon(ended.set)
            assert ended.wait(10)
        assert settled(worker) > before
        assert worker.holds.aside is False
