"""Callbacks of messages that may come back: called once, given up when the broker has answered."""

from __future__ import annotations

from functools import partial

import pytest

from netserver.backplane.unheard import Unheard

MOST = 3


def test_one_that_comes_back_is_called_once() -> None:
    unheard, called = Unheard(MOST), list[object]()
    tokens = [unheard.add(partial(called.append, name)) for name in "abc"]
    unheard.tell(tokens[1].encode())
    unheard.tell(tokens[1].encode())
    assert called == ["b"]
    assert len(unheard) == 2


def test_an_answer_settles_what_was_sent_before_the_question() -> None:
    unheard, called = Unheard(MOST), list[object]()
    early = unheard.add(lambda: called.append("early"))
    asked = unheard.ask()
    late = unheard.add(lambda: called.append("late"))
    assert unheard.unasked == 1
    unheard.settle(asked)
    assert len(unheard) == 1
    unheard.tell(early.encode())
    unheard.tell(late.encode())
    assert called == ["late"]


def test_it_is_full_at_its_limit_until_some_are_settled() -> None:
    unheard = Unheard(MOST)
    for _ in range(MOST):
        assert not unheard.full
        unheard.add(lambda: None)
    assert unheard.full
    unheard.settle(unheard.ask())
    assert not unheard.full
    assert len(unheard) == 0


@pytest.mark.parametrize("token", ["", "x", "-1", "1.5", "٣", "9" * 5000, "7"])
def test_what_was_never_sent_is_passed_over(token: str) -> None:
    unheard, called = Unheard(MOST), list[object]()
    unheard.add(lambda: called.append(1))
    unheard.tell(token.encode())
    assert called == []
    assert len(unheard) == 1
