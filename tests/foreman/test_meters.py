"""Meters against plain lists of what was measured."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.meters import CPU_WORTH_MEASURING, PEAK_DECAY, HoldMeter, ScanMeter, WaitMeter

waits = st.lists(st.floats(0, 100), max_size=600)


@given(waits, st.floats(0.001, 100))
def test_waits_in_total(values: list[float], promised: float) -> None:
    meter = WaitMeter()
    missed = [meter.add(value, promised) for value in values]
    statistics = meter.statistics()
    assert missed == [value > promised for value in values]
    assert statistics.misses == sum(missed)
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
        assert meter.samples_cpu is (sum(window) > len(window) * CPU_WORTH_MEASURING)
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


def test_the_share_of_cpu_is_a_share() -> None:
    meter = HoldMeter()
    meter.cpu, meter.cpu_of = 0.25, 1.0
    assert meter.statistics().cpu_share == 0.25
    meter.cpu = 1.1  # the two clocks tick apart
    assert meter.statistics().cpu_share == 1.0
