from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwire import Backoff, Retry


def test_grows_to_the_cap() -> None:
    backoff = Backoff(first=0.5, factor=2.0, cap=5.0)
    assert [backoff.delay(n, lambda: 1.0) for n in (1, 2, 3, 4, 5, 6)] == [0.5, 1, 2, 4, 5, 5]


def test_jitter_covers_the_whole_wait_after_the_cap() -> None:
    backoff = Backoff(first=1.0, cap=8.0)
    assert backoff.delay(50, lambda: 0.0) == 0.0
    assert backoff.delay(50, lambda: 0.25) == 2.0
    delays = [backoff.delay(50, random.Random(seed).random) for seed in range(200)]
    assert min(delays) < 0.5
    assert max(delays) > 7.5


@given(
    failures=st.integers(1, 10**400),
    first=st.floats(0, 1e6),
    factor=st.floats(1, 1e300),
    jitter=st.floats(0, 1),
)
def test_stays_within_the_cap_at_any_count(
    failures: int, first: float, factor: float, jitter: float
) -> None:
    backoff = Backoff(first=first, factor=factor, cap=1e6)
    assert 0 <= backoff.delay(failures, lambda: jitter) <= 1e6


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"first": -1.0}, ValueError),
        ({"first": math.nan}, ValueError),
        ({"first": "1"}, TypeError),
        ({"first": True}, TypeError),
        ({"cap": math.inf}, ValueError),
        ({"first": 2.0, "cap": 1.0}, ValueError),
        ({"factor": 0.5}, ValueError),
        ({"factor": math.nan}, ValueError),
        ({"factor": math.inf}, ValueError),
        ({"reset_after": -1}, ValueError),
        ({"attempts": 0}, ValueError),
        ({"attempts": 1.5}, TypeError),
    ],
)
def test_bad_settings_are_refused(bad: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Backoff(**bad)


def test_only_a_connection_that_lived_starts_over() -> None:
    retry = Retry(Backoff(first=1.0, cap=100.0, reset_after=10.0))
    lives = [0.0, 0.0, 9.9, 10.0, 0.0, 60.0]
    assert [retry.next_delay(lived, lambda: 1.0) for lived in lives] == [1, 2, 4, 1, 2, 1]


def test_a_connection_that_never_opened_does_not_start_over() -> None:
    retry = Retry(Backoff(first=1.0, reset_after=0.0))
    assert [retry.next_delay(lived, lambda: 1.0) for lived in (0.0, 0.0, 0.1)] == [1, 2, 1]


def test_gives_up_after_its_attempts() -> None:
    retry = Retry(Backoff(first=1.0, attempts=3))
    assert [retry.next_delay(0.0, lambda: 1.0) for _ in range(3)] == [1, 2, None]
