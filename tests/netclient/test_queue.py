from __future__ import annotations

import asyncio

import pytest

from netclient.queue import ByteQueue


async def test_first_in_first_out() -> None:
    queue: ByteQueue[str] = ByteQueue(10_000)
    for item in "abc":
        queue.put(item, 1)
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]


async def test_full_from_its_limit_until_half_of_it() -> None:
    rooms: list[int] = []
    queue: ByteQueue[int] = ByteQueue(4000)
    queue.on_room = lambda: rooms.append(1)
    for item in range(4):
        assert not queue.full
        queue.put(item, 1000)
    assert queue.full
    await queue.get()
    assert queue.full
    await queue.get()
    await queue.get()
    assert not queue.full
    assert rooms == [1]


async def test_nobody_needs_to_be_told_of_room() -> None:
    queue: ByteQueue[int] = ByteQueue(1)
    queue.put(1, 1)
    assert queue.full
    assert await queue.get() == 1
    assert not queue.full


async def test_empty_items_count_too() -> None:
    queue: ByteQueue[bytes] = ByteQueue(6400)
    for _ in range(100):
        queue.put(b"", 0)
    assert queue.full


async def test_close_wakes_all_and_keeps_what_is_inside() -> None:
    queue: ByteQueue[str] = ByteQueue(100)
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.put("last", 4)
    queue.close()
    queue.put("too late", 4)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[0] == "last"
    assert [type(result) for result in results[1:]] == [EOFError, EOFError]
    with pytest.raises(EOFError):
        await queue.get()


async def test_a_waiter_that_is_cancelled_takes_nothing() -> None:
    queue: ByteQueue[str] = ByteQueue(100)
    first, second = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    queue.put("item", 4)
    assert await second == "item"


async def test_a_waiter_passed_over_while_it_is_cancelled() -> None:
    queue: ByteQueue[str] = ByteQueue(100)
    first, second = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    queue.put("item", 4)
    assert await second == "item"
    await asyncio.wait({first})
    assert first.cancelled()


async def test_a_waiter_woken_and_cancelled_at_once_wakes_the_next() -> None:
    queue: ByteQueue[str] = ByteQueue(100)
    first, second = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.put("item", 4)
    first.cancel()
    assert await second == "item"
    assert first.cancelled()
