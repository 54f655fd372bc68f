"""Meters against plain lists of what was measured."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.meters import (
    LONG_HOLD,
    OFTEN,
    PEAK_DECAY,
    TELLING,
    WORTH_SAMPLING,
    HoldMeter,
    ScanMeter,
    WaitMeter,
)

waits = st.lists(st.floats(0, 100), max_size=600)


@given(waits, st.floats(0.001, 100))
def test_waits_in_total(values: list[float], promised: float) -> None:
    meter = WaitMeter()
    for value in values:
        meter.add(value, promised)
    statistics = meter.statistics()
    assert statistics.misses == sum(value > promised for value in values)
    assert statistics.count == len(values)
    assert statistics.worst == max(values, default=0.0)
    assert statistics.mean == pytest.approx(sum(values) / len(values) if values else 0.0)


@given(waits, st.just(0.0) | st.floats(0, 200))
def test_recent_waits_as_a_distribution(values: list[float], waiting: float) -> None:
    meter = ScanMeter()
    for value in values:
        meter.add(value)
    statistics = meter.statistics(waiting)
    recent = values[-ScanMeter.RECENT :]
    last = recent[-1] if recent else 0.0
    if waiting > last:
        recent, last = [*recent, waiting], waiting
    recent.sort()
    assert statistics.last == last
    if not recent:
        assert statistics.mean == statistics.p99 == statistics.worst == 0.0
        return
    assert statistics.worst == recent[-1]
    assert statistics.mean == pytest.approx(sum(recent) / len(recent))
    at_most = sum(value <= statistics.p99 for value in recent)
    assert at_most >= 0.99 * len(recent)
    assert statistics.p99 in recent


def test_a_stuck_node_shows_how_long_it_has_been() -> None:
    meter = ScanMeter()
    meter.add(0.001)
    assert meter.statistics(0.0).last == 0.001
    assert meter.statistics(3.0).last == meter.statistics(3.0).worst == 3.0


def test_a_distribution_is_read_while_it_is_written() -> None:
    meter = ScanMeter()
    done = threading.Event()

    def write() -> None:
        value = 0
        while not done.is_set():
            value += 1
            meter.add(float(value))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2000):
            statistics = meter.statistics(0.0)
            assert statistics.mean <= statistics.p99 <= statistics.worst
    finally:
        done.set()
        writer.join()


@given(st.lists(st.lists(st.floats(0, 10), max_size=10), max_size=10))
def test_holds_over_windows(windows: list[list[float]]) -> None:
    meter = HoldMeter()
    peak = 0.0
    for window in windows:
        for held in window:
            meter.runs += 1
            meter.held += held
            meter.longest = max(meter.longest, held)
        everything = [held for w in windows[: windows.index(window) + 1] for held in w]
        assert meter.statistics().worst >= max(window, default=0.0)
        assert meter.fold() == pytest.approx(sum(window))
        peak = max(max(window, default=0.0), peak * PEAK_DECAY)
        assert meter.peak == pytest.approx(peak)
        assert meter.runs == 0
        if window:
            mean = sum(window) / len(window)
            assert meter.sampled is (mean > WORTH_SAMPLING)
        assert meter.statistics().worst >= max(everything, default=0.0)
    everything = [held for window in windows for held in window]
    statistics = meter.statistics()
    assert statistics.count == len(everything)
    assert statistics.worst == max(everything, default=0.0)
    assert statistics.mean == pytest.approx(sum(everything) / (len(everything) or 1))
    assert statistics.cpu_share is None


def test_the_open_window_counts() -> None:
    meter = HoldMeter()
    meter.runs, meter.held, meter.longest = 2, 3.0, 2.0
    assert meter.statistics().count == 2
    assert meter.statistics().mean == 1.5
    assert meter.statistics().worst == 2.0


def test_the_share_of_computing_is_a_share() -> None:
    meter = HoldMeter()
    assert meter.computing is None
    meter.examined(1.0, 0.25)
    assert meter.computing == meter.statistics().cpu_share == 0.25
    meter.examined(1.0, 2.0)  # the two clocks tick apart
    assert meter.statistics().cpu_share == 1.0


def test_the_share_of_computing_drifts_with_what_is_done_now() -> None:
    meter = HoldMeter()
    meter.examined(8.0, 8.0)
    shares = []
    for _ in range(8):
        meter.fold()
        meter.examined(1.0, 0.0)
        assert meter.computing is not None
        shares.append(meter.computing)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(4 / 5)
    assert shares[-1] < 0.02


def test_what_was_examined_long_ago_tells_nothing() -> None:
    meter = HoldMeter()
    meter.examined(1.0, 1.0)
    meter.fold()
    assert meter.computing == 1.0
    folds = 0
    while meter.computing is not None:
        meter.fold()
        folds += 1
    assert 1.0 * 0.5 ** (folds + 1) <= TELLING < 1.0 * 0.5**folds


@given(st.integers(1, 50), st.floats(0, 10), st.floats(0, 1))
def test_many_short_windows_forget_as_much_as_a_long_one(
    parts: int, before: float, share: float
) -> None:
    long, short = HoldMeter(), HoldMeter()
    for meter in (long, short):
        meter.runs, meter.held, meter.longest = 1, before, before
        meter.examined(before, share * before)
        meter.fold()
        meter.examined(1.0, 1.0)
    long.fold()
    for _ in range(parts):
        short.fold(1 / parts)
    assert short.peak == pytest.approx(long.peak)
    assert short.computing == pytest.approx(long.computing)


def test_a_short_window_weighs_little_in_the_mean() -> None:
    meter = HoldMeter()
    means = []
    for held, weight in ((1.0, 1.0), (3.0, 0.0), (3.0, 1.0)):
        meter.runs, meter.held = 1, held
        meter.fold(weight)
        means.append(meter.mean)
    assert means == [1.0, 1.0, 2.0]


def run_often(meter: HoldMeter, held: float, times: int = OFTEN) -> None:
    """As a node counts holds of which some go untimed."""
    for _ in range(times):
        if meter.passed_over:
            meter.passed_over -= 1
        else:
            meter.passed_over = meter.skips
            meter.longest = max(meter.longest, held)
            meter.held += held * meter.stands_for
        meter.runs += 1


def test_who_runs_very_often_is_timed_now_and_then_and_counted_each_time() -> None:
    meter = HoldMeter()
    run_often(meter, 2e-6)
    assert meter.fold() == pytest.approx(OFTEN * 2e-6)
    assert meter.skips
    run_often(meter, 4e-6, 4 * OFTEN)
    assert meter.fold() == pytest.approx(4 * OFTEN * 4e-6), "those that were timed stand for all"
    assert meter.statistics().count == 5 * OFTEN
    assert meter.statistics().mean == pytest.approx((2e-6 + 4 * 4e-6) / 5)


def test_whoever_runs_less_often_or_ever_for_long_is_timed_each_time() -> None:
    seldom, slow = HoldMeter(), HoldMeter()
    run_often(seldom, 2e-6, OFTEN - 1)
    run_often(slow, 2e-6)
    slow.longest = LONG_HOLD
    for meter in (seldom, slow):
        meter.fold()
        assert (meter.skips, meter.stands_for) == (0, 1.0)
    folds = 0
    while not slow.skips:
        run_often(slow, 2e-6)
        slow.fold()
        folds += 1
    assert folds == 1, "one of exactly that length is below it a window later"
    run_often(slow, 2e-6, 1)
    slow.fold()
    assert not slow.skips
