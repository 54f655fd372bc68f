"""The switch interval follows the strictest wish and is given back."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from foreman.interpreter import SHARE_OF_LATENCY, SHORTEST, SwitchInterval, has_lock

FOUND = 0.004


@pytest.fixture(autouse=True)
def found() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(FOUND)
    yield
    sys.setswitchinterval(before)


def interval() -> float:
    return round(sys.getswitchinterval(), 9)


def test_it_follows_the_strictest_of_all() -> None:
    shared, first, second = SwitchInterval(), object(), object()
    shared.wish(first, 0.1)
    assert interval() == pytest.approx(0.1 * SHARE_OF_LATENCY)
    shared.wish(second, 0.05)
    assert interval() == pytest.approx(0.05 * SHARE_OF_LATENCY)
    shared.wish(second, None)
    assert interval() == pytest.approx(0.1 * SHARE_OF_LATENCY)
    shared.wish(first, None)
    assert interval() == FOUND


def test_it_is_never_longer_than_found_nor_shorter_than_sensible() -> None:
    shared, owner = SwitchInterval(), object()
    shared.wish(owner, 1000.0)
    assert interval() == FOUND
    shared.wish(owner, 1e-6)
    assert interval() == SHORTEST
    shared.wish(owner, None)
    assert interval() == FOUND


def test_giving_up_what_was_never_wished_changes_nothing() -> None:
    shared = SwitchInterval()
    shared.wish(object(), None)
    assert interval() == FOUND


def test_what_is_found_is_looked_up_anew_each_time() -> None:
    shared, owner = SwitchInterval(), object()
    shared.wish(owner, 0.02)
    shared.wish(owner, None)
    sys.setswitchinterval(0.002)
    shared.wish(owner, 0.02)
    shared.wish(owner, None)
    assert interval() == 0.002


def test_an_interpreter_says_whether_it_has_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    for enabled in (True, False):
        monkeypatch.setattr(sys, "_is_gil_enabled", lambda answer=enabled: answer, raising=False)
        assert has_lock() is enabled
    monkeypatch.delattr(sys, "_is_gil_enabled")
    assert has_lock() is True, "one too old to say"
