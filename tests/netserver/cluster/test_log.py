"""A group's history: bounded, and served from a position."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netserver import Entry, GroupRules, History, Position
from netserver.cluster.history import Log
from netserver.cluster.rules import NO_RULES, RuleBook


def log(now: list[float], **rules: float) -> Log:
    made = Log(History(**rules), lambda: now[0])  # type: ignore[arg-type]
    made.reset("e")
    return made


def entry(offset: int, message: str = "", at: float = 0.0) -> Entry:
    return Entry(Position("e", offset), message, f"id{offset}", at)


def offsets(entries: tuple[Entry, ...]) -> list[int]:
    return [each.position.offset for each in entries]


@given(st.integers(1, 8), st.integers(0, 20), st.integers(0, 22))
def test_it_is_recovered_only_when_nothing_is_missing(count: int, length: int, at: int) -> None:
    kept = log([0.0], count=count)
    for offset in range(1, length + 1):
        kept.append(entry(offset))
    recovered, entries = kept.since(Position("e", at))
    missed = list(range(at + 1, length + 1))
    if at > length:
        assert not recovered
    elif len(missed) <= count:
        assert recovered
        assert offsets(entries) == missed
    else:
        assert not recovered
        assert offsets(entries) == list(range(length + 1 - count, length + 1))


def test_offsets_need_not_follow_on_each_other() -> None:
    kept = log([0.0], count=2)
    for offset in (10, 20, 30):
        kept.append(entry(offset))
    assert kept.since(Position("e", 10)) == (True, (entry(20), entry(30)))
    assert kept.since(Position("e", 9))[0] is False
    assert kept.since(Position("e", 25)) == (True, (entry(30),))


def test_it_is_bounded_by_bytes_and_by_age() -> None:
    now = [0.0]
    kept = log(now, size=3000, age=10.0)
    for offset in range(1, 5):
        kept.append(entry(offset, "x" * 744, at=now[0]))
        now[0] += 1
    assert len(kept) == 3
    assert kept.size == 3000
    assert not kept.has("id1")
    now[0] = 12.5
    assert offsets(kept.since(None)[1]) == [4]
    now[0] = 20
    assert kept.since(Position("e", 4)) == (True, ())
    assert kept.since(Position("e", 3))[0] is False
    assert kept.size == 0


def test_another_epoch_is_not_recovered() -> None:
    kept = log([0.0])
    kept.append(entry(1))
    assert kept.since(Position("other", 1)) == (False, (entry(1),))
    kept.reset("new", 50)
    assert kept.position == Position("new", 50)
    assert kept.since(Position("new", 50)) == (True, ())
    assert kept.since(Position("new", 49))[0] is False


def test_what_is_skipped_is_not_missing() -> None:
    kept = log([0.0])
    kept.skip(7)
    assert kept.since(Position("e", 3)) == (True, ())


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": -1}, {"age": 0}, {"count": 1.5}])
def test_limits_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises((ValueError, TypeError)):
        History(**wrong)  # type: ignore[arg-type]


def test_the_first_rules_that_fit_count() -> None:
    book = RuleBook()
    assert book.of("room/1") is NO_RULES
    special, rooms = GroupRules(presence=True), GroupRules(history=History())
    book.add("room/special", special)
    book.add("room/*", rooms)
    assert book.of("room/special") is special
    assert book.of("room/1") is book.of("room/1") is rooms
    assert book.of("other") is NO_RULES
    assert book.histories == [rooms.history]
    with pytest.raises(TypeError, match="GroupRules"):
        book.add("x", "y")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pattern"):
        book.add("", rooms)
    with pytest.raises(ValueError, match="already"):
        book.add("room/*", special)
    with pytest.raises(ValueError, match="stamp"):
        GroupRules(stamp=lambda entry: entry.message)
    book.seal()
    with pytest.raises(RuntimeError, match="before the server is started"):
        book.add("late", special)
    with pytest.raises(TypeError, match="History"):
        GroupRules(history=5)  # type: ignore[arg-type]
