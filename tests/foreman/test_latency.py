"""Declaring a latency: on a class, on an instance, and wrongly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman import ForemanError, InvalidLatency, Worker
from foreman.latency import check_latency, round_down

WRONG: list[Any] = [
    0,
    0.0,
    -1,
    -0.001,
    float("nan"),
    float("inf"),
    float("-inf"),
    10**400,
    True,
    None,
    "1",
    b"1",
    1j,
    Decimal(1),
]


class Plain(Worker):
    pass


@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:12])
def test_what_is_no_latency(value: Any) -> None:
    with pytest.raises(InvalidLatency, match="positive, finite number of seconds") as caught:
        check_latency(value)
    assert repr(caught.value.value) == repr(value)
    assert type(value).__name__ in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ForemanError)
    worker = Plain()
    with pytest.raises(InvalidLatency):
        worker.required_latency = value
    assert worker.required_latency == 1.0, "the old one is kept"
    with pytest.raises(InvalidLatency):
        type("Wrong", (Worker,), {"required_latency": value})


@pytest.mark.parametrize("value", [1, 0.001, 1e-300, 1e300, 2**1000])
def test_what_is_one(value: float) -> None:
    assert check_latency(value) == value
    assert type(check_latency(value)) is float


def test_the_default_is_inherited_and_an_instance_has_its_own() -> None:
    class Strict(Worker):
        required_latency = 0.25

    class Heir(Strict):
        pass

    assert Worker.required_latency == 1.0
    assert Strict.required_latency == Heir.required_latency == 0.25
    worker = Heir()
    assert worker.required_latency == 0.25
    worker.required_latency = 2
    assert worker.required_latency == 2.0
    assert Heir.required_latency == Heir().required_latency == 0.25


@pytest.mark.parametrize("seconds", [0.001, 0.005, 0.01, 0.02, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 30])
def test_what_people_declare_is_a_step(seconds: float) -> None:
    assert round_down(seconds) == seconds


@given(st.floats(1e-6, 1e5))
def test_a_latency_is_kept_as_a_little_less_at_most(seconds: float) -> None:
    assert 0.749 * seconds <= round_down(seconds) <= seconds
    assert round_down(round_down(seconds)) == round_down(seconds)


def test_latencies_beyond_the_steps_are_no_longer_than_declared() -> None:
    assert round_down(3e-7) == 3e-7
    assert 1e5 < round_down(1e9) <= 1e9
