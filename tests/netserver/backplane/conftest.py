"""Every engine, for the contract suite: how to join one more server to its others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
import uvloop
from attrs import define, field

from netserver.backplane import Backplane, LinkState, make_backplane
from tests.netserver.backplane.engines import ENGINES, Joining

# So long may anything take that must happen, seconds.
PATIENCE = 20.0


@define(eq=False)
class Peer:
    """One server's end, and what it was told."""

    backplane: Backplane
    received: list[tuple[str, bytes]] = field(factory=list)
    states: list[tuple[LinkState, str]] = field(factory=list)
    changed: asyncio.Event = field(factory=asyncio.Event)

    def receive(self, subject: str, payload: bytes) -> None:
        self.received.append((subject, payload))
        self.changed.set()

    def tell(self, state: LinkState, why: str) -> None:
        self.states.append((state, why))
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what it is told to fulfil a condition."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_received(self, count: int) -> list[tuple[str, bytes]]:
        await self.until(lambda: len(self.received) >= count)
        return self.received

    async def start(self) -> None:
        await self.backplane.start(self.receive, self.tell)
        await self.until(lambda: self.backplane.state is LinkState.UP)


class Servers:
    """Makes servers that are joined to each other, and closes them in the end."""

    def __init__(self, engine: Joining, stack: AsyncExitStack) -> None:
        self._engine = engine
        self._stack = stack

    async def join(self) -> Peer:
        peer = Peer(make_backplane(self._engine.url()))
        self._stack.push_async_callback(peer.backplane.close)
        await peer.start()
        return peer


Scenario: TypeAlias = Callable[[Servers], Coroutine[Any, Any, None]]
Play: TypeAlias = Callable[[Scenario], None]


# On both loops what needs no broker; links to brokers have tests of their own on both.
LOOPS = {"memory": ("asyncio", "uvloop"), "zmq": ("asyncio", "uvloop")}
CASES = [f"{name} {loop}" for name in ENGINES for loop in LOOPS.get(name, ("uvloop",))]


@pytest.fixture(params=CASES)
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    """Runs a scenario with servers of each engine."""
    name, loop = request.param.split()
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with ENGINES[name]() as engine:

        def run(scenario: Scenario) -> None:
            async def main() -> None:
                async with AsyncExitStack() as stack:
                    await scenario(Servers(engine, stack))

            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(main())

        yield run
