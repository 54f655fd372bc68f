"""Who wants what, told in numbered steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netserver.backplane.zeromq import interest
from netserver.backplane.zeromq.interest import Interest, TooMany, Wishes
from netserver.backplane.zeromq.wire import Action, Change


def told(wishes: Wishes[str], *steps: tuple[Action, str], first: int = 1) -> list[bool]:
    return [
        wishes.apply(Change(number, action, tuple(subjects.split())))
        for number, (action, subjects) in enumerate(steps, first)
    ]


def whole(interest: Interest[str], holder: str, subjects: str = "") -> Wishes[str]:
    wishes = Wishes(interest, holder)
    assert told(wishes, (Action.BEGIN, ""), (Action.END, subjects)) == [True, True]
    return wishes


def test_a_set_counts_when_it_is_complete() -> None:
    table: Interest[str] = Interest()
    wishes = Wishes(table, "a")
    assert told(wishes, (Action.BEGIN, "x"), (Action.EXTEND, "y")) == [True, True]
    assert not wishes.whole
    assert table.of("x") == ()
    assert told(wishes, (Action.END, ""), first=3) == [True]
    assert wishes.whole
    assert table.of("x") == table.of("y") == ("a",)


def test_steps_add_and_remove_for_one_holder_only() -> None:
    table: Interest[str] = Interest()
    a, b = whole(table, "a", "x"), whole(table, "b", "x y")
    assert told(a, (Action.ADD, "y z"), (Action.REMOVE, "x never"), first=3) == [True, True]
    assert table.of("x") == ("b",)
    assert set(table.of("y")) == {"a", "b"}
    assert table.of("z") == ("a",)
    b.end()
    assert (table.of("x"), table.of("y"), len(table)) == ((), ("a",), 2)


@pytest.mark.parametrize("number", [0, 2, 4, 99])
def test_a_gap_asks_for_the_whole_set_and_the_old_one_counts_until_then(number: int) -> None:
    table: Interest[str] = Interest()
    wishes = whole(table, "a", "x")
    assert told(wishes, (Action.ADD, "lost"), first=number) == [False]
    assert told(wishes, (Action.ADD, "later"), first=3) == [False]
    assert table.of("x") == ("a",)
    assert told(wishes, (Action.BEGIN, "new"), (Action.END, ""), first=50) == [True, True]
    assert (table.of("x"), table.of("new"), wishes.number) == ((), ("a",), 51)


@pytest.mark.parametrize("step", [Action.ADD, Action.REMOVE, Action.EXTEND, Action.END])
def test_without_a_beginning_nothing_counts(step: Action) -> None:
    table: Interest[str] = Interest()
    assert told(Wishes(table, "a"), (step, "x")) == [False]
    assert len(table) == 0


def test_a_step_in_the_middle_of_a_set_is_a_mistake() -> None:
    table: Interest[str] = Interest()
    steps = told(Wishes(table, "a"), (Action.BEGIN, "x"), (Action.ADD, "y"), (Action.END, ""))
    assert steps == [True, False, False]
    assert len(table) == 0


def test_the_end_of_a_set_that_has_not_begun_is_a_mistake() -> None:
    table: Interest[str] = Interest()
    assert told(whole(table, "a"), (Action.END, "x"), first=3) == [False]


def test_more_subjects_than_are_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interest, "MOST_SUBJECTS", 3)
    table: Interest[str] = Interest()
    wishes = whole(table, "a", "x y z")
    with pytest.raises(TooMany):
        told(wishes, (Action.ADD, "too many"), first=3)
    wishes.end()
    assert len(table) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from([Action.ADD, Action.REMOVE]),
            st.sets(st.sampled_from("stuvwxyz")),
        )
    )
)
def test_it_is_what_sets_would_say(steps: list[tuple[str, Action, set[str]]]) -> None:
    table: Interest[str] = Interest()
    holders = {name: whole(table, name) for name in "abc"}
    expected: dict[str, set[str]] = {name: set() for name in "abc"}
    for name, action, subjects in steps:
        change = Change(holders[name].number + 1, action, tuple(subjects))
        assert holders[name].apply(change)
        if action is Action.ADD:
            expected[name] |= subjects
        else:
            expected[name] -= subjects
    for subject in "stuvwxyz":
        assert sorted(table.of(subject)) == [n for n in "abc" if subject in expected[n]]
    for wishes in holders.values():
        wishes.end()
    assert len(table) == 0
