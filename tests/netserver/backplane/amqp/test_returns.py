"""Callbacks of messages that may come back: called once, given up when the broker has answered."""

from __future__ import annotations

from functools import partial

import pytest

from netserver.backplane.amqp.returns import Returns


def test_one_that_comes_back_is_called_once() -> None:
    returns, called = Returns(), list[object]()
    ids = [returns.add(partial(called.append, name)) for name in "abc"]
    returns.come_back(ids[1])
    returns.come_back(ids[1])
    assert called == ["b"]
    assert len(returns) == 2


def test_an_answer_settles_what_was_sent_before_the_question() -> None:
    returns, called = Returns(), list[object]()
    early = returns.add(lambda: called.append("early"))
    asked = returns.ask()
    late = returns.add(lambda: called.append("late"))
    assert returns.unasked == 1
    returns.settle(asked)
    assert len(returns) == 1
    returns.come_back(early)
    returns.come_back(late)
    assert called == ["late"]


def test_it_is_full_at_its_limit_until_some_are_settled() -> None:
    returns = Returns()
    for _ in range(Returns.MOST):
        assert not returns.full
        returns.add(lambda: None)
    assert returns.full
    returns.settle(returns.ask())
    assert not returns.full
    assert len(returns) == 0


@pytest.mark.parametrize("message_id", [None, "", "x", "-1", "1.5", "٣", "9" * 5000, "7"])
def test_what_was_never_sent_is_passed_over(message_id: str | None) -> None:
    returns, called = Returns(), list[object]()
    returns.add(lambda: called.append(1))
    returns.come_back(message_id)
    assert called == []
    assert len(returns) == 1
