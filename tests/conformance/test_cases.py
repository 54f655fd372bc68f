"""Which cases are meant, among those that the suite really has."""

from __future__ import annotations

import pytest

from conformance.cases import ALL, FAST, Selection
from conformance.errors import NoSuchCase
from conformance.suite import Suite


def choose(suite: Suite, *patterns: str) -> list[str]:
    return list(Selection(name="some", patterns=patterns).choose(suite.cases))


def test_the_counts_are_those_of_this_version(suite: Suite) -> None:
    assert len(ALL.choose(suite.cases)) == ALL.count == 517
    assert len(FAST.choose(suite.cases)) == FAST.count == 353


def test_what_the_fast_set_leaves_out(suite: Suite) -> None:
    left_out = set(ALL.choose(suite.cases)) - set(FAST.choose(suite.cases))
    assert {case.split(".")[0] for case in left_out} == {"12", "13"}
    assert "12.1.5" in left_out


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("7.1.5",), ["7.1.5"]),
        (("10",), ["10.1.1"]),
        (("1.1.1", "1.1.*"), [f"1.1.{number}" for number in range(1, 9)]),
        (("12.*.18", "1.2.8"), ["1.2.8", *(f"12.{number}.18" for number in range(1, 6))]),
    ],
)
def test_patterns(suite: Suite, patterns: tuple[str, ...], expected: list[str]) -> None:
    assert choose(suite, *patterns) == expected


def test_a_number_is_no_beginning_of_another(suite: Suite) -> None:
    assert {case.split(".")[0] for case in choose(suite, "1")} == {"1"}
    assert {case.split(".")[1] for case in choose(suite, "6.2")} == {"2"}


@pytest.mark.parametrize("pattern", ["8", "7.1.99", "", "x", "7.1.5.1"])
def test_a_pattern_that_fits_nothing(suite: Suite, pattern: str) -> None:
    with pytest.raises(NoSuchCase, match="no case"):
        choose(suite, "7.1.5", pattern)
