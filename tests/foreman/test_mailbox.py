"""A mailbox: order, the one wake-up, the limit in bytes."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman import Worker
from foreman import mailbox as mailbox_module
from foreman.mailbox import Mailbox, mailbox_of


def call(number: int) -> tuple[Any, tuple[int]]:
    return print, (number,)


def test_one_wake_up_serves_all_that_has_gathered() -> None:
    mailbox = Mailbox()
    assert [mailbox.put(call(n)) for n in range(3)] == [True, False, False]
    assert list(mailbox.take()) == [call(0), call(1), call(2)]
    assert list(mailbox.take()) == []
    assert mailbox.put(call(3)) is True


@given(st.integers(0, 100), st.lists(st.none() | st.integers(0, 60)))
def test_the_limit_is_kept(limit: int, steps: list[int | None]) -> None:
    """Numbers are sizes put in, None takes everything out."""
    mailbox = Mailbox()
    inside: list[int] = []
    for size in steps:
        if size is None:
            assert list(mailbox.take()) == [call(one) for one in inside]
            inside = []
        elif sum(inside) + size > limit:
            assert mailbox.put(call(size), size, limit) is None
        else:
            assert mailbox.put(call(size), size, limit) is (not inside)
            inside.append(size)
    assert list(mailbox.take()) == [call(one) for one in inside]


def test_one_that_comes_second_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, first = Worker(), Mailbox()

    class Quicker:
        """The lock, when another thread was quicker to take it."""

        def __enter__(self) -> None:
            worker._mailbox = first

        def __exit__(self, *error: object) -> None:
            pass

    monkeypatch.setattr(mailbox_module, "_creation", Quicker())
    assert mailbox_of(worker) is first


def test_threads_that_meet_get_the_same_mailbox() -> None:
    for _ in range(50):
        worker = Worker()
        barrier = threading.Barrier(4)
        found: list[Mailbox] = []

        def look(
            worker: Worker = worker,
            barrier: threading.Barrier = barrier,
            found: list[Mailbox] = found,
        ) -> None:
            barrier.wait(10)
            found.append(mailbox_of(worker))

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert len(set(map(id, found))) == 1
        assert mailbox_of(worker) is found[0]


def test_all_is_taken_if_all_of_it_fits() -> None:
    mailbox = Mailbox()
    assert mailbox.waits is False
    assert mailbox.take_if(lambda _call: True) == []
    assert mailbox.put(call(1), 60, 100) is True
    assert mailbox.put(call(2), 40, 100) is False
    assert mailbox.take_if(lambda found: found != call(2)) == []
    assert mailbox.waits is True
    assert mailbox.take_if(lambda _call: True) == [call(1), call(2)]
    assert mailbox.waits is False
    assert mailbox.put(call(3), 100, 100) is False, "its owner was woken, and comes yet"
    assert mailbox.take() == [call(3)]
    assert mailbox.put(call(4)) is True
