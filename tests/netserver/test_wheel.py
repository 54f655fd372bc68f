"""The timing wheel and the limits of rate and address, without a socket and with made-up times."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netserver.quota import Bucket, Quota, origin
from netserver.wheel import Wheel


def taken(wheel: Wheel[int], now: float) -> list[int]:
    found = []
    while (item := wheel.pop(now)) is not None:
        found.append(item)
    return found


@given(st.lists(st.floats(0, 100), max_size=60), st.floats(0.01, 5))
def test_each_is_given_out_once_at_its_time_or_a_slot_later(
    times: list[float], tick: float
) -> None:
    wheel: Wheel[int] = Wheel(tick)
    for number, at in enumerate(times):
        wheel.add(number, at)
    given_out: list[int] = []
    while (now := wheel.next_at) is not None:
        for number in taken(wheel, now):
            assert times[number] <= now + 1e-6
            assert now <= times[number] + tick + 1e-6
            given_out.append(number)
    assert sorted(given_out) == list(range(len(times)))
    assert not wheel


def test_what_was_removed_is_not_given_out() -> None:
    wheel: Wheel[int] = Wheel(1.0)
    slots = {number: wheel.add(number, number % 7) for number in range(100)}
    gone = random.Random(1).sample(range(100), 60)
    for number in gone:
        slots[number].discard(number)
    assert sorted(taken(wheel, 10)) == sorted(set(range(100)) - set(gone))
    assert wheel.next_at is None


def test_nothing_is_given_out_too_early_and_what_is_late_still_is() -> None:
    wheel: Wheel[int] = Wheel(0.5)
    wheel.add(1, 3.2)
    assert wheel.pop(3.2) is None
    assert wheel.pop(3.5) == 1
    wheel.add(2, 1.0)  # long past
    assert wheel.pop(9.0) == 2


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_whose_an_address_is(host: str, found: str) -> None:
    assert origin(host) == found


def test_a_quota() -> None:
    quota = Quota(2)
    assert quota.enter("a", "2001:db8::1")
    assert quota.enter("b", "2001:db8::2")
    assert not quota.enter("c", "2001:db8::3")
    assert quota.enter("d", "2001:db9::1")
    assert (len(quota), quota.largest, quota.refused) == (2, 2, 1)
    quota.leave("a")
    quota.leave("a")
    quota.leave("c")
    assert quota.enter("c", "2001:db8::3")
    for member in "bcd":
        quota.leave(member)
    assert (len(quota), quota.largest) == (0, 0)


def test_no_quota_counts_nothing() -> None:
    quota = Quota(None)
    assert all(quota.enter(number, "192.0.2.1") for number in range(100))
    assert not len(quota)
    quota.leave(1)


def test_a_bucket() -> None:
    bucket = Bucket(10.0, 3, now=100.0)
    for _ in range(3):
        assert bucket.wait(100.0) == 0
        bucket.take()
    assert bucket.wait(100.0) == pytest.approx(0.1)
    assert bucket.wait(100.05) == pytest.approx(0.05)
    assert bucket.wait(100.101) == 0
    bucket.take()
    assert bucket.wait(1000.0) == 0  # no more than a burst gathers
    for _ in range(3):
        bucket.take()
    assert bucket.wait(1000.0) == pytest.approx(0.1)
    assert bucket.wait(999.0) > 0  # nor does a clock that goes back fill it


@given(st.lists(st.floats(0, 0.5), max_size=80), st.floats(1, 50), st.integers(1, 10))
def test_a_bucket_lets_no_more_through_than_its_rate_and_a_burst(
    gaps: list[float], rate: float, burst: int
) -> None:
    now, passed = 0.0, 0
    bucket = Bucket(rate, burst, now)
    for gap in gaps:
        now += gap
        while not bucket.wait(now):
            bucket.take()
            passed += 1
        assert passed <= burst + rate * now + 1e-6
