"""The histogram against sorted samples."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.histogram import BUCKETS, LONGEST, Histogram, bucket_of, highest_in

durations = st.integers(0, LONGEST)


@given(durations)
def test_a_bucket_holds_its_values_within_a_128th(value: int) -> None:
    bucket = bucket_of(value)
    assert 0 <= bucket < BUCKETS
    highest = highest_in(bucket)
    assert value <= highest <= value + value // 128
    assert bucket_of(highest) == bucket
    assert bucket_of(highest + 1) == min(bucket + 1, BUCKETS - 1)


@given(st.lists(durations, min_size=1), st.floats(0, 100))
def test_percentiles_are_those_of_the_sorted_samples(samples: list[int], percent: float) -> None:
    histogram = Histogram()
    for sample in samples:
        histogram.record(sample)
    rank = max(1, ceil(percent / 100 * len(samples)))
    exact = sorted(samples)[rank - 1]
    assert exact <= histogram.percentile(percent) <= exact + exact // 128
    assert histogram.percentile(100) == histogram.maximum == max(samples)
    assert histogram.total == len(samples)


@given(st.lists(durations), durations)
def test_share_within_never_counts_less_than_there_are(samples: list[int], value: int) -> None:
    histogram = Histogram()
    for sample in samples:
        histogram.record(sample)
    within = sum(sample <= value for sample in samples)
    generous = sum(sample <= value + value // 128 for sample in samples)
    share = histogram.share_within(value) * len(samples)
    assert within - 1e-6 <= share <= generous + 1e-6 or not samples


@given(st.lists(durations))
def test_sparse_and_back(samples: list[int]) -> None:
    histogram = Histogram()
    for sample in samples:
        histogram.record(sample)
    again = Histogram.from_sparse(histogram.sparse(), histogram.maximum)
    assert again.counts == histogram.counts
    assert again.maximum == histogram.maximum


def test_nothing_recorded_is_all_zero() -> None:
    histogram = Histogram()
    assert (histogram.percentile(50), histogram.maximum, histogram.total) == (0, 0, 0)


def test_clear_forgets_in_place() -> None:
    histogram = Histogram()
    counts = histogram.counts
    histogram.record(5)
    histogram.clear()
    assert histogram.counts is counts
    assert histogram.total == histogram.maximum == 0


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 ns"):
        Histogram().record(-1)


def test_durations_beyond_the_last_bucket_keep_their_maximum() -> None:
    histogram = Histogram()
    histogram.record(LONGEST + 1000)
    assert histogram.maximum == LONGEST + 1000
    assert histogram.total == 1
