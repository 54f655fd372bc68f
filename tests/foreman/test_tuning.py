"""A Foreman tunes the process while it keeps promises, unless told not to, and puts it back."""

from __future__ import annotations

import gc
import sys
import threading

import pytest

from foreman import Foreman, Worker
from foreman.collector import NEVER
from foreman.interpreter import has_lock, interval_for
from tests.foreman.conftest import PATIENCE, Block, MakeForeman, until


class Strict(Worker):
    required_latency = 0.010


def tuned() -> tuple[float, bool]:
    """The switch interval, and whether full collections are kept from beginning by themselves."""
    return sys.getswitchinterval(), gc.get_threshold()[2] == NEVER


@pytest.mark.skipif(not has_lock(), reason="there is no interpreter lock")
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the collector is another one")
@pytest.mark.parametrize("tune_collector", [True, False])
@pytest.mark.parametrize("tune_interpreter", [True, False])
def test_the_process_follows_the_strictest_worker(
    tune_interpreter: bool, tune_collector: bool
) -> None:
    before = tuned()
    assert before[1] is False
    with Foreman(tune_interpreter=tune_interpreter, tune_collector=tune_collector) as foreman:
        assert tuned() == before
        worker = Strict()
        foreman.add(worker)
        interval, collects_little = tuned()
        expected = interval_for(0.010) if tune_interpreter else before[0]
        assert interval == pytest.approx(expected)
        assert collects_little is tune_collector
        foreman.remove(worker).result(15)
        assert tuned() == pytest.approx(before)
        foreman.add(Strict())
    assert tuned() == pytest.approx(before)


@pytest.mark.skipif(not has_lock(), reason="there is no interpreter lock")
def test_one_started_again_while_it_stops_keeps_its_tuning(make_foreman: MakeForeman) -> None:
    before = tuned()
    foreman = make_foreman()
    blocker = Block()
    foreman.add(blocker)
    blocker.hold()
    stopping = threading.Thread(target=foreman.stop)
    stopping.start()
    until(lambda: not foreman.nodes)
    assert foreman.start()
    foreman.add(Strict())
    blocker.released.set()
    stopping.join(PATIENCE)
    assert tuned()[0] == pytest.approx(interval_for(0.010))
    foreman.stop()
    assert tuned() == pytest.approx(before)
