"""One side of a bare library as a process: a plan on standard input, as `benchmark.load.talk` says.

Two of them do with a client library alone what two servers of ours do, without clients, names, or
receipts: they publish to each other by subject. It runs on the loop that our servers run on.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import asdict

from benchmark.cluster.alarm import Alarm
from benchmark.cluster.bare_plan import BarePlan, BareResult
from benchmark.cluster.libraries import LIBRARIES
from benchmark.histogram import Histogram
from benchmark.load.client import LoadError
from benchmark.load.talk import answer
from foreman.loops import new_loop

HELLO_EVERY = 0.02  # seconds
CONNECT_TIMEOUT = 10.0
LEAD = 0.05  # seconds from the word to begin to the first message that is due
LISTENING = 1.0  # seconds after the last message that is due
LOOK = 0.1  # seconds between two looks at how far it is
_STAMP = struct.Struct("!q")


class Side:
    """One side. Its loop's.

    Args:
        plan: What to do.
    """

    def __init__(self, plan: BarePlan) -> None:
        self._plan = plan
        self._hello = plan.pairs  # the subject after all others
        kind = LIBRARIES[plan.library]
        self._library = kind(plan.where, plan.side, plan.pairs + 1, self._receive)
        self._heard = asyncio.Event()
        self._histogram = Histogram()
        self._answering = False
        self._since = 0  # messages due before are not measured
        self._expected = 0  # of the open loop
        self._all = asyncio.Event()
        self.messages = 0

    async def connect(self) -> None:
        """Subscribe, and wait until the other side is heard, which has then subscribed to all."""
        await self._library.start()
        greeting = asyncio.get_running_loop().create_task(self._greet())
        try:
            await asyncio.wait_for(self._heard.wait(), CONNECT_TIMEOUT)
        except TimeoutError:
            raise LoadError(f"{self._plan.library}: the two sides do not hear each other") from None
        self._greeting = greeting

    async def run(self, progress: Callable[[float, int], None]) -> BareResult:
        """Carry the plan out; the other side does at the same time."""
        self._greeting.cancel()
        if self._plan.in_flight is not None:
            return await self._closed_loop(self._plan.in_flight, progress)
        return await self._open_loop(progress)

    async def close(self) -> None:
        """Disconnect."""
        await self._library.close()

    async def _greet(self) -> None:
        while True:
            await self._library.publish(self._hello, b"")
            await asyncio.sleep(HELLO_EVERY)

    async def _receive(self, number: int, payload: bytes) -> None:
        if number == self._hello:
            self._heard.set()
            return
        self.messages += 1
        if self._plan.in_flight is None:
            (due,) = _STAMP.unpack_from(payload)
            if due >= self._since:
                self._histogram.record(max(0, time.monotonic_ns() - due))
            if self.messages == self._expected:
                self._all.set()
        elif self._answering:
            await self._library.publish(number, payload)

    # ---------------------------------------------------------------- the two loops

    async def _closed_loop(
        self, in_flight: int, progress: Callable[[float, int], None]
    ) -> BareResult:
        plan = self._plan
        payload = bytes(plan.size)
        self._answering = True
        for _ in range(in_flight):
            for number in range(plan.pairs):
                await self._library.publish(number, payload)
        began = time.monotonic()
        await self._sleep(began, plan.warmup, progress)
        before, started, cpu = self.messages, time.monotonic(), time.process_time()
        await self._sleep(began, plan.warmup + plan.seconds, progress)
        after, ended, used = self.messages, time.monotonic(), time.process_time() - cpu
        self._answering = False
        await asyncio.sleep(LEAD)  # for what is under way
        return self._result(after - before, 0, ended - started, used)

    async def _sleep(
        self, began: float, seconds: float, progress: Callable[[float, int], None]
    ) -> None:
        while (rest := began + seconds - time.monotonic()) > 0:
            await asyncio.sleep(min(LOOK, rest))
            progress(time.monotonic() - began, self.messages)

    async def _open_loop(self, progress: Callable[[float, int], None]) -> BareResult:
        plan = self._plan
        gap = 1e9 / (plan.rate * plan.pairs)
        count = self._expected = round((plan.warmup + plan.seconds) * plan.rate) * plan.pairs
        start = time.monotonic_ns() + round(LEAD * 1e9)
        self._since = start + round(plan.warmup * 1e9)
        padding = bytes(plan.size - _STAMP.size)
        cpu = time.process_time()
        alarm = Alarm()
        looked = time.monotonic()
        for n in range(count):
            due = start + round(gap * n)
            if due > time.monotonic_ns():
                await alarm.until(due)
            await self._library.publish(n % plan.pairs, _STAMP.pack(due) + padding)
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                progress((time.monotonic_ns() - start) / 1e9, self.messages)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all.wait(), LISTENING)
        alarm.close()
        await asyncio.sleep(LOOK)  # the other side may not be done with listening
        elapsed = (time.monotonic_ns() - start) / 1e9
        used = time.process_time() - cpu
        return self._result(self._histogram.total, count - self.messages, elapsed, used)

    def _result(self, messages: int, lost: int, elapsed: float, used: float) -> BareResult:
        return BareResult(
            messages=messages,
            lost=lost,
            elapsed=elapsed,
            cpu=used / elapsed,
            buckets=self._histogram.sparse(),
            maximum=self._histogram.maximum,
        )


async def carry_out(
    plan: BarePlan, progress: Callable[[float, int], None], connected: Callable[[], None]
) -> BareResult:
    """Do what the plan says, from connecting to disconnecting.

    Raises:
        LoadError: The two sides do not hear each other.
    """
    side = Side(plan)
    await side.connect()
    try:
        await asyncio.to_thread(connected)
        return await side.run(progress)
    finally:
        await side.close()


def main() -> int:
    """Carry out the plan that standard input holds; the exit status is 1 when that failed."""

    def run(
        plan: Any, progress: Callable[[float, int], None], connected: Callable[[], None]
    ) -> dict[str, Any]:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return asdict(runner.run(carry_out(BarePlan(**plan), progress, connected)))

    return answer(run)


if __name__ == "__main__":
    sys.exit(main())
