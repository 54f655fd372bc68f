"""What a class has shown: a mean of its members, in which few do not stand for all."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from foreman import Demand
from foreman.experience import HORIZON, SHORTEST, Experience
from tests.foreman.views import demand


def shown(experience: Experience) -> Demand:
    found = experience.of("a")
    assert found is not None
    return found


def learn(experience: Experience, *demands: Demand, ran: int | None = None) -> None:
    load = sum(one.load for one in demands) / len(demands) if demands else 0.0
    experience.learn("a", demands, len(demands) if ran is None else ran, load)


def test_nothing_is_known_of_a_class_that_has_not_run() -> None:
    experience = Experience()
    learn(experience, demand(hold=1.0))
    assert experience.of("b") is None


def test_a_class_is_the_mean_of_its_members_of_holds_the_geometric_one() -> None:
    experience = Experience()
    one = demand(hold=0.1, mean=0.01, load=0.5, computing=0.0)
    learn(experience, one, evolve(one, hold=0.4, mean=0.04, load=0.25, computing=1.0))
    found = shown(experience)
    measured = (found.hold, found.mean, found.load, found.computing)
    assert measured == pytest.approx((0.2, 0.02, 0.375, 0.5))


def test_what_is_known_of_a_class_is_measured_and_movable_whoever_showed_it() -> None:
    experience = Experience()
    learn(experience, demand(hold=0.1, movable=False))
    assert (shown(experience).measured, shown(experience).movable) == (True, True)


def test_one_offender_does_not_bring_its_class_into_disrepute() -> None:
    experience = Experience()
    learn(experience, *[demand(hold=0.0001)] * 20, demand(hold=1.0))
    assert shown(experience).hold < 0.0002


def test_who_cannot_be_believed_yet_counts_for_what_was_known() -> None:
    experience = Experience()
    learn(experience, demand(hold=1.0), ran=10)
    assert experience.of("a") is None, "one of ten does not stand for the class"
    learn(experience, *[demand(hold=0.001)] * 10)
    learn(experience, demand(hold=1.0), ran=10)
    assert shown(experience).hold < 0.0015


def test_the_load_is_learnt_of_all_that_there_are() -> None:
    experience = Experience()
    experience.learn("a", [demand(hold=0.1, load=0.5)], 1, 0.01)
    assert shown(experience).load == pytest.approx(0.01)
    for _ in range(2 * HORIZON):
        experience.learn("a", [], 4, 0.25)
    assert shown(experience).load == pytest.approx(0.25, rel=0.01)
    assert shown(experience).hold == pytest.approx(0.1)


def test_the_past_fades() -> None:
    experience = Experience()
    learn(experience, *[demand(hold=1.0, load=1.0)] * 1000)
    for _ in range(10):
        learn(experience, *[demand(hold=0.001, load=0.0)] * HORIZON)
    assert shown(experience).hold < 0.002
    assert shown(experience).load < 0.002


def test_holds_too_short_to_be_measured_are_taken_for_the_shortest() -> None:
    experience = Experience()
    learn(experience, demand(hold=0.0, mean=0.0))
    assert shown(experience).hold == pytest.approx(SHORTEST)


times = st.floats(1e-6, 10.0)


@settings(deadline=None)
@given(windows=st.lists(st.lists(times, min_size=1, max_size=8), min_size=1, max_size=8))
def test_a_class_is_never_taken_for_more_or_less_than_any_has_shown(
    windows: list[list[float]],
) -> None:
    experience = Experience()
    for window in windows:
        learn(experience, *[demand(hold=hold, load=min(1.0, hold)) for hold in window])
    every = [hold for window in windows for hold in window]
    found = shown(experience)
    assert 0.999 * min(every) <= found.mean <= found.hold * 1.001
    assert found.hold <= 1.001 * max(every)
    assert -1e-9 <= found.load <= 1.0 + 1e-9
