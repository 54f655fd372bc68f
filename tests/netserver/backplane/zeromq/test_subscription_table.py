"""Who wants what, told in numbered steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netserver.backplane.zeromq import subscription_table
from netserver.backplane.zeromq.subscription_table import (
    PeerSubscriptions,
    SubscriptionTable,
    TooMany,
)
from netserver.backplane.zeromq.wire import Action, Change


def told(
    subscriptions: PeerSubscriptions[str], *steps: tuple[Action, str], first: int = 1
) -> list[bool]:
    return [
        subscriptions.apply(Change(number, action, tuple(subjects.split())))
        for number, (action, subjects) in enumerate(steps, first)
    ]


def whole(table: SubscriptionTable[str], holder: str, subjects: str = "") -> PeerSubscriptions[str]:
    subscriptions = PeerSubscriptions(table, holder)
    assert told(subscriptions, (Action.BEGIN, ""), (Action.END, subjects)) == [True, True]
    return subscriptions


def test_a_set_counts_when_it_is_complete() -> None:
    table: SubscriptionTable[str] = SubscriptionTable()
    subscriptions = PeerSubscriptions(table, "a")
    assert told(subscriptions, (Action.BEGIN, "x"), (Action.EXTEND, "y")) == [True, True]
    assert not subscriptions.whole
    assert table.of("x") == ()
    assert told(subscriptions, (Action.END, ""), first=3) == [True]
    assert subscriptions.whole
    assert table.of("x") == table.of("y") == ("a",)


def test_steps_add_and_remove_for_one_holder_only() -> None:
    table: SubscriptionTable[str] = SubscriptionTable()
    a, b = whole(table, "a", "x"), whole(table, "b", "x y")
    assert told(a, (Action.ADD, "y z"), (Action.REMOVE, "x never"), first=3) == [True, True]
    assert table.of("x") == ("b",)
    assert set(table.of("y")) == {"a", "b"}
    assert table.of("z") == ("a",)
    b.end()
    assert (table.of("x"), table.of("y"), len(table)) == ((), ("a",), 2)


@pytest.mark.parametrize("number", [0, 2, 4, 99])
def test_a_gap_asks_for_the_whole_set_and_the_old_one_counts_until_then(number: int) -> None:
    table: SubscriptionTable[str] = SubscriptionTable()
    subscriptions = whole(table, "a", "x")
    assert told(subscriptions, (Action.ADD, "lost"), first=number) == [False]
    assert told(subscriptions, (Action.ADD, "later"), first=3) == [False]
    assert table.of("x") == ("a",)
    assert told(subscriptions, (Action.BEGIN, "new"), (Action.END, ""), first=50) == [True, True]
    assert (table.of("x"), table.of("new"), subscriptions.number) == ((), ("a",), 51)


@pytest.mark.parametrize("step", [Action.ADD, Action.REMOVE, Action.EXTEND, Action.END])
def test_without_a_beginning_nothing_counts(step: Action) -> None:
    table: SubscriptionTable[str] = SubscriptionTable()
    assert told(PeerSubscriptions(table, "a"), (step, "x")) == [False]
    assert len(table) == 0


def test_a_step_in_the_middle_of_a_set_is_a_mistake() -> None:
    table: SubscriptionTable[str] = SubscriptionTable()
    steps = told(
        PeerSubscriptions(table, "a"), (Action.BEGIN, "x"), (Action.ADD, "y"), (Action.END, "")
    )
    assert steps == [True, False, False]
    assert len(table) == 0


def test_the_end_of_a_set_that_has_not_begun_is_a_mistake() -> None:
    table: SubscriptionTable[str] = SubscriptionTable()
    assert told(whole(table, "a"), (Action.END, "x"), first=3) == [False]


def test_more_subjects_than_are_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_table, "MOST_SUBJECTS", 3)
    table: SubscriptionTable[str] = SubscriptionTable()
    subscriptions = whole(table, "a", "x y z")
    with pytest.raises(TooMany):
        told(subscriptions, (Action.ADD, "too many"), first=3)
    subscriptions.end()
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
    table: SubscriptionTable[str] = SubscriptionTable()
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
    for subscriptions in holders.values():
        subscriptions.end()
    assert len(table) == 0
