from __future__ import annotations

from foreman import Demand
from foreman.experience import MEMORY, Experience


def demand(hold: float, load: float) -> Demand:
    return Demand(kind="a", required_latency=1.0, hold=hold, load=load, measured=True)


def test_nothing_is_known_of_a_class_that_has_not_run() -> None:
    experience = Experience()
    experience.learn("a", [demand(1.0, 0.5)])
    assert experience.of("b") is None


def test_a_class_is_the_mean_of_its_members() -> None:
    experience = Experience()
    experience.learn("a", [demand(1.0, 0.5), demand(3.0, 0.25)])
    shown = experience.of("a")
    assert shown is not None
    assert (shown.hold, shown.load) == (2.0, 0.375)


def test_the_past_fades() -> None:
    experience = Experience()
    experience.learn("a", [demand(1.0, 1.0)])
    for times in range(1, 30):
        experience.learn("a", [demand(0.0, 0.0)])
        shown = experience.of("a")
        assert shown is not None
        assert shown.hold == shown.load == MEMORY**times
