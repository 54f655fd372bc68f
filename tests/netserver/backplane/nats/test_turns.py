"""What is republished out of turn is handed over in order, and what is lost is not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from netserver.backplane import Record
from netserver.backplane.nats.turns import MOST_BYTES, MOST_RECORDS, Turns


class Heard:
    def __init__(self) -> None:
        self.all: list[tuple[str, int, int]] = []
        self.more = asyncio.Event()

    def __call__(self, subject: str, previous: int, record: Record) -> None:
        self.all.append((subject, previous, record.offset))
        self.more.set()


def play(scenario: Callable[[Turns, Heard], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        heard = Heard()
        await scenario(Turns(heard), heard)

    asyncio.run(main())


def record(offset: int, size: int = 1) -> Record:
    return Record(offset, bytes(size), 0.0)


# A subject's messages as (previous, offset).
CHAIN = [(0, 3), (3, 4), (4, 9), (9, 10), (10, 20)]


@pytest.mark.parametrize(
    "order", [[0, 1, 2, 3, 4], [0, 2, 1, 3, 4], [0, 4, 3, 2, 1], [0, 1, 4, 2, 3], [0, 2, 1, 4, 3]]
)
def test_each_is_handed_over_in_its_turn(order: list[int]) -> None:
    async def scenario(turns: Turns, heard: Heard) -> None:
        for index in order:
            previous, offset = CHAIN[index]
            turns.take("s", previous, record(offset))
        assert [(p, o) for _, p, o in heard.all] == CHAIN

    play(scenario)


def test_one_that_is_lost_is_waited_for_a_moment_only() -> None:
    async def scenario(turns: Turns, heard: Heard) -> None:
        turns.take("s", 0, record(3))
        turns.take("s", 9, record(10))
        turns.take("s", 4, record(9))
        assert heard.all == [("s", 0, 3)]
        heard.more.clear()
        async with asyncio.timeout(20):
            await heard.more.wait()
        assert heard.all == [("s", 0, 3), ("s", 4, 9), ("s", 9, 10)]
        turns.take("s", 3, record(4))  # too late
        turns.take("s", 10, record(20))
        assert heard.all[3:] == [("s", 10, 20)]

    play(scenario)


@pytest.mark.parametrize(("count", "size"), [(MOST_RECORDS, 1), (1, MOST_BYTES)])
def test_what_waits_is_bounded(count: int, size: int) -> None:
    async def scenario(turns: Turns, heard: Heard) -> None:
        turns.take("s", 0, record(1))
        for offset in range(3, 3 + count):
            turns.take("s", offset - 1, record(offset, size))
        assert len(heard.all) == 1
        turns.take("s", 2 + count, record(3 + count))
        assert len(heard.all) == 2 + count

    play(scenario)


def test_nothing_is_waited_for_after_a_new_beginning() -> None:
    async def scenario(turns: Turns, heard: Heard) -> None:
        turns.take("s", 0, record(7))
        turns.take("s", 8, record(9))
        turns.take("t", 0, record(8))
        turns.clear()
        turns.take("s", 1, record(2))
        turns.forget("t")
        turns.take("t", 2, record(3))
        assert heard.all == [("s", 0, 7), ("t", 0, 8), ("s", 1, 2), ("t", 2, 3)]

    play(scenario)
