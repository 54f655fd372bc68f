"""The rounds of a node: one timer for all, however long a turn of them takes."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import pytest

from netserver import ServerConfig
from netserver.rounds import QUANTUM, Rounds

PERIOD = 0.05  # seconds


class Place:
    """What rounds need of a node."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.clock = perf_counter


class Busy:
    """Takes so long to be looked at that a turn is not enough for all."""

    def __init__(self, rounds: Rounds) -> None:
        self.rounds = rounds
        self.beats = 0

    def beat(self, now: float) -> None:
        self.beats += 1
        ends = perf_counter() + QUANTUM / 4
        while perf_counter() < ends:
            pass
        self.rounds.add(self, now + PERIOD)  # type: ignore[arg-type]

    def failed(self, error: Exception) -> None:
        raise error


async def rounds_of(members: list[Busy], count: int) -> None:
    """Wait until each was looked at so many times."""
    for _ in range(2000):
        if min(member.beats for member in members) >= count:
            return
        await asyncio.sleep(PERIOD / 10)
    raise AssertionError("they are not looked at")


async def test_there_is_one_timer_however_many_turns_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    armed: list[asyncio.Handle] = []

    def noting(schedule: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            armed.append(schedule(*args, **options))
            return armed[-1]

        return call

    monkeypatch.setattr(loop, "call_later", noting(loop.call_later))
    monkeypatch.setattr(loop, "call_soon", noting(loop.call_soon))
    rounds = Rounds({}, Place(loop), ServerConfig(ping_interval=0.5))  # type: ignore[arg-type]
    members = [Busy(rounds) for _ in range(40)]
    for member in members:
        rounds.add(member, perf_counter())  # type: ignore[arg-type]
    await rounds_of(members, 8)
    stray = [
        handle
        for handle in armed
        if handle._callback == rounds._turn  # type: ignore[attr-defined]
        and not handle.cancelled()
        and isinstance(handle, asyncio.TimerHandle)
        and handle.when() > loop.time()
        and handle is not rounds._timer
    ]
    assert stray == []
