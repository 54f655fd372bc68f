"""What is expected of the next worker of a class, from what those before it have shown."""

from __future__ import annotations

import pytest

from foreman import Demand
from foreman.experience import HORIZON, Experience


def demand(hold: float, mean: float | None = None, computing: float = 1.0) -> Demand:
    return Demand(
        kind="a",
        required_latency=1.0,
        hold=hold,
        mean=hold if mean is None else mean,
        load=0.0,
        computing=computing,
        measured=True,
        movable=False,
    )


def shown(experience: Experience) -> Demand:
    found = experience.of("a")
    assert found is not None
    return found


def test_nothing_is_known_of_a_class_that_has_not_run() -> None:
    experience = Experience()
    experience.learn("a", [demand(1.0)], 1, 0.5)
    assert experience.of("b") is None


def test_a_class_is_the_mean_of_its_members() -> None:
    experience = Experience()
    experience.learn("a", [demand(1.0, 0.1, 1.0), demand(4.0, 0.4, 0.5)], 2, 0.25)
    found = shown(experience)
    assert found.hold == pytest.approx(2.0), "the geometric one"
    assert found.mean == pytest.approx(0.2)
    assert found.computing == pytest.approx(0.75)
    assert found.load == 0.25
    assert found.measured
    assert found.movable


def test_the_past_fades() -> None:
    experience = Experience()
    for _ in range(3 * HORIZON):
        experience.learn("a", [demand(0.001)], 1, 0.5)
    for _ in range(10 * HORIZON):
        experience.learn("a", [demand(0.1)], 1, 0.1)
    assert shown(experience).hold == pytest.approx(0.1, rel=0.01)
    assert shown(experience).load == pytest.approx(0.1, rel=0.01)


def test_an_offender_does_not_stand_for_its_class() -> None:
    experience = Experience()
    experience.learn("a", [demand(0.001) for _ in range(200)], 200, 0.01)
    experience.learn("a", [demand(1.0)], 1, 0.5)
    assert shown(experience).hold < 0.0012
    assert shown(experience).load < 0.02


def test_few_who_cost_more_do_not_found_an_experience() -> None:
    experience = Experience()
    experience.learn("a", [demand(0.5)], 3, 0.1)
    assert experience.of("a") is None, "the others may yet do little"
    experience.learn("a", [demand(0.5), demand(0.5)], 3, 0.1)
    assert shown(experience).hold == pytest.approx(0.5)


def test_those_who_are_not_believed_yet_slow_down_what_is_learned() -> None:
    hasty, slow = Experience(), Experience()
    for experience, ran in ((hasty, 1), (slow, 100)):
        experience.learn("a", [demand(0.001)], 1, 0.0)
        experience.learn("a", [demand(0.1)], ran, 0.0)
    assert shown(slow).hold < shown(hasty).hold


def test_loads_are_learned_from_all_of_a_class() -> None:
    experience = Experience()
    experience.learn("a", [demand(0.001)], 1, 0.5)
    experience.learn("a", [], 1, 0.1)
    assert shown(experience).load == pytest.approx(0.3)
    assert shown(experience).hold == pytest.approx(0.001)
