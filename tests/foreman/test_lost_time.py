"""What the collector and the operating system take is measured against taking it for real."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foreman.interpreter import has_lock
from foreman.lost_time import PAUSES_KEPT, Pauses, ThreadTimes, pauses
from tests.foreman.conftest import PATIENCE

pytestmark = pytest.mark.alone

COMPETITOR = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
print("burning", flush=True)
while True:
    pass
"""


SCHEDSTAT = Path("/proc/thread-self/schedstat")
tells = pytest.mark.skipif(not SCHEDSTAT.exists(), reason="the system does not tell")


@pytest.fixture(scope="module")
def garden() -> Iterator[list[list[int]]]:
    """So many objects alive that looking at all of them takes a while; done when asked for only."""
    gc.disable()
    alive = [[number] for number in range(400_000)]
    yield alive
    gc.enable()


def collect() -> float:
    began = time.perf_counter()
    gc.collect()
    return time.perf_counter() - began


def delay() -> float:
    """How long this thread has been ready without being run, seconds."""
    return int(SCHEDSTAT.read_text().split()[1]) * 1e-9 if SCHEDSTAT.exists() else 0.0


def compute(seconds: float) -> None:
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


def examine(hold: Callable[[], object]) -> tuple[float, float, float]:
    """On a thread of its own: how long it took, what is charged for it, and what it computed."""
    found: list[float] = []

    def run() -> None:
        times = ThreadTimes()
        began = time.perf_counter()
        hold()
        held = time.perf_counter() - began
        found.extend((held, *times.examine(began, held, True)))
        times.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    held, charged, computed = found
    return held, charged, computed


@pytest.mark.parametrize("spend", [compute, time.sleep])
def test_a_collection_of_its_own_is_not_charged(
    garden: object, spend: Callable[[float], None]
) -> None:
    took = 0.0

    def hold() -> None:
        nonlocal took
        spend(0.01)
        took = collect()

    held, charged, computed = examine(hold)
    assert held > took
    assert 0.008 < charged < took / 2
    if spend is compute:
        assert 0.008 < computed <= charged
    else:
        assert computed < charged / 2, "collecting is no computing of the worker's"


@pytest.mark.parametrize("computes", [True, False])
def test_one_on_another_thread_is_charged_to_those_only_who_would_have_slept(
    garden: object, computes: bool
) -> None:
    began, done = threading.Event(), threading.Event()
    took = delayed = 0.0

    def collect_there() -> None:
        nonlocal took
        assert began.wait(PATIENCE)
        took = collect()
        done.set()

    def hold() -> None:
        nonlocal delayed
        began.set()
        if not computes:
            assert done.wait(PATIENCE)
            time.sleep(took)
            delayed = delay()
            return
        while not done.is_set():
            pass
        compute(0.05)

    other = threading.Thread(target=collect_there)
    other.start()
    held, charged, _ = examine(hold)
    other.join()
    if computes:
        assert charged < held - took / 2
    else:
        # On a busy machine it may not come as far as to sleep; then that is what it lost.
        assert charged > held - delayed - took / 2


@tells
def test_time_on_the_run_queue_is_not_charged() -> None:
    core = min(os.sched_getaffinity(0))
    computed = 0.0

    def hold() -> None:
        # 0 is the calling thread, which is the examined one and ends with the examination.
        nonlocal computed
        os.sched_setaffinity(0, {core})
        began = time.thread_time()
        compute(0.2)
        computed = time.thread_time() - began

    with subprocess.Popen(
        [sys.executable, "-c", COMPETITOR, str(core)], stdout=subprocess.PIPE
    ) as competitor:
        try:
            assert competitor.stdout is not None
            assert competitor.stdout.readline() == b"burning\n"
            held, charged, measured = examine(hold)
        finally:
            competitor.kill()
    assert held > 1.4 * computed, "there was no competition"
    assert 0.8 * computed < charged < 1.2 * computed
    assert 0.8 * computed < measured < 1.2 * computed


@tells
@pytest.mark.skipif(not has_lock(), reason="threads compute at the same time")
def test_waiting_for_the_interpreter_lock_counts_as_computing() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100e-6)
    together = threading.Barrier(5)
    shares: list[float] = []
    slept: list[float] = []

    def take_part(spend: Callable[[float], None], found: list[float]) -> None:
        def hold() -> None:
            together.wait(PATIENCE)
            spend(0.1)

        _, charged, computed = examine(hold)
        found.append(computed / charged)

    threads = [threading.Thread(target=take_part, args=(compute, shares)) for _ in range(4)]
    threads.append(threading.Thread(target=take_part, args=(time.sleep, slept)))
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    finally:
        sys.setswitchinterval(interval)
    # Each has computed for a quarter of the time.
    assert sum(shares) / 4 > 0.6
    assert slept[0] < 0.4


def test_each_examination_is_about_what_came_since_the_last_reading() -> None:
    times = ThreadTimes()
    compute(0.02)
    times.read()
    began = time.perf_counter()
    time.sleep(0.02)
    _, computed = times.examine(began, time.perf_counter() - began, False)
    assert computed < 0.01
    began = time.perf_counter()
    compute(0.02)
    _, computed = times.examine(began, time.perf_counter() - began, False)
    assert computed > 0.01
    times.close()


def test_a_system_that_does_not_tell_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(os, "open", refuse)
    times = ThreadTimes()
    monkeypatch.undo()
    began = time.perf_counter()
    time.sleep(0.005)
    held = time.perf_counter() - began
    charged, _ = times.examine(began, held, True)
    times.close()
    assert charged == held


def test_descriptors_and_the_ear_are_given_back() -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0

    files = open_files()
    both = [ThreadTimes(), ThreadTimes()]
    assert gc.callbacks.count(pauses._note) == 1, "all share one"
    both.pop().close()
    assert gc.callbacks.count(pauses._note) == 1
    both.pop().close()
    assert gc.callbacks.count(pauses._note) == 0
    assert open_files() == files


def test_of_a_pause_only_what_lies_within_counts(garden: object) -> None:
    heard = Pauses()
    heard.listen()
    try:
        before = time.perf_counter()
        there = threading.Thread(target=collect)
        there.start()
        there.join()
        after = time.perf_counter()
        here, total = heard.within(before, after)
        assert here == 0.0
        assert (after - before) / 2 < total <= after - before
        middle = (before + after) / 2
        first, second = heard.within(before, middle)[1], heard.within(middle, after)[1]
        assert 0 < first < total
        assert first + second == pytest.approx(total)
        assert heard.within(before - 1, before) == heard.within(after, after + 1) == (0.0, 0.0)
    finally:
        heard.ignore()


def test_short_collections_are_not_kept(garden: object) -> None:
    heard = Pauses()
    heard.listen()
    try:
        began = time.perf_counter()
        gc.collect(1)
        gc.collect(1)  # at once: there is hardly anything left to collect
        gc.collect(0)
        assert len(heard._recent) <= 1
        heard._recent.clear()
        gc.collect(0)
        assert heard.within(began, time.perf_counter()) == (0.0, 0.0)
        collect()
        assert heard.within(began, time.perf_counter()) > (0.0, 0.0)
        assert heard._recent.maxlen == PAUSES_KEPT
    finally:
        heard.ignore()
