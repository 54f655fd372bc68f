"""Figures from made-up messages: what counts, from when, and what is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.load.timetable import NEVER
from benchmark.timeline import SECOND, Figures, Timeline, lateness

MS = SECOND // 1000


def test_latency_runs_from_the_time_due_and_an_unanswered_message_counts_with_its_age() -> None:
    timeline = Timeline(
        due=[0, 10 * MS, 20 * MS],
        taken=[0, 15 * MS, NEVER],
        heard=[5 * MS, 16 * MS, NEVER],
        end=100 * MS,
    )
    assert [message.latency for message in timeline.messages] == [5 * MS, 6 * MS, 80 * MS]
    assert [message.late for message in timeline.messages] == [0, 5 * MS, 80 * MS]
    figures = Figures.of(timeline.messages, declared=0.010)
    assert (figures.count, figures.missed, figures.unanswered) == (3, 1, 1)
    assert figures.maximum == 0.080
    assert not figures.kept


def test_a_promise_is_kept_when_one_in_a_hundred_is_late() -> None:
    late = Timeline([0] * 100, [0] * 100, [11 * MS] + [10 * MS] * 99, SECOND)
    assert Figures.of(late.messages, 0.010).kept
    later = Timeline([0] * 100, [0] * 100, [11 * MS] * 2 + [10 * MS] * 98, SECOND)
    assert not Figures.of(later.messages, 0.010).kept


def test_windows_hold_what_was_due_in_them() -> None:
    due = [0, 999 * MS, 1000 * MS, 1999 * MS, 2000 * MS]
    timeline = Timeline(due, due, [3 * SECOND] * 5, 3 * SECOND)
    assert [m.due for m in timeline.within(1, 2)] == [1000 * MS, 1999 * MS]
    assert len(timeline.within(0)) == 5


def test_bins_are_quarters_of_a_second_and_only_those_with_messages() -> None:
    due = [0, 249 * MS, 250 * MS, 1000 * MS]
    timeline = Timeline(due, due, [at + MS for at in due], 2 * SECOND)
    found = [(at, figures.count) for at, figures in timeline.bins(0.010)]
    assert found == [(0.125, 2), (0.375, 1), (1.125, 1)]
    assert list(Timeline([], [], [], SECOND).bins(0.010)) == []


def test_the_order_of_the_messages_does_not_matter() -> None:
    timeline = Timeline([5, 0], [6, 1], [20, 10], SECOND)
    assert [(m.due, m.latency) for m in timeline.messages] == [(0, 10), (5, 15)]


@given(st.lists(st.integers(0, 10**12), min_size=1), st.floats(0.1, 100))
def test_percentiles_are_of_the_nearest_rank(latencies: list[int], percent: float) -> None:
    timeline = Timeline([0] * len(latencies), [0] * len(latencies), latencies, 0)
    figures = Figures.of(timeline.messages, 1.0)
    found = figures.percentile(percent)
    within = sum(latency / SECOND <= found for latency in latencies)
    assert within / len(latencies) >= percent / 100 - 1e-6
    assert found in [latency / SECOND for latency in latencies]


def test_of_no_messages_everything_is_nothing() -> None:
    figures = Figures.of([], 0.010)
    assert (figures.count, figures.percentile(99), figures.maximum, figures.kept) == (0, 0, 0, True)


def test_lateness_is_over_all_classes() -> None:
    one = Timeline([0], [3 * MS], [9 * MS], SECOND)
    other = Timeline([0], [1 * MS], [9 * MS], SECOND)
    assert lateness([one, other]).maximum == pytest.approx(0.003)
    assert lateness([one, other]).count == 2
