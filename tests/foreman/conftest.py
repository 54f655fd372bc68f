"""Foremen on both event loops, workers that watch themselves, and ears for events."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias, TypeVar

import pytest
import uvloop

from foreman import Foreman, Node, Worker
from foreman.demand import Group
from foreman.events import Event

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
LOOPS: dict[str, LoopFactory] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
PATIENCE = 30.0  # seconds; against hanging only

E = TypeVar("E")


def until(holds: Callable[[], object]) -> None:
    """Wait for something that no event tells."""
    ends = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < ends, "waited in vain"
        pause.wait(0.002)


def groups_on(foreman: Foreman, node: Node) -> tuple[Group, ...]:
    """What the policy sees of a node's workers."""
    with foreman._dispatcher.lock:
        return node.roster.groups()


class Heard:
    """A listener that keeps every event, and can be waited on."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def wait_for(self, kind: type[E], count: int = 1) -> list[E]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.all(kind)) >= count, PATIENCE)
            return self.all(kind)


class Probe(Worker):
    """Notes what happens to it, and whether it ever happens at the wrong place or time."""

    def __init__(self, latency: float | None = None) -> None:
        super().__init__()
        if latency is not None:
            self.required_latency = latency
        self.log: list[Any] = []
        self.wrong: list[str] = []
        self.failures: list[BaseException] = []
        self.started = threading.Event()
        self.stopped = threading.Event()
        self._inside = False
        self._attached: Node | None = None

    def _enter(self) -> None:
        if self._inside:
            self.wrong.append("two callbacks at once")
        self._inside = True
        if self._attached is None or not self._attached.here:
            self.wrong.append(f"ran away from where it is attached ({self._attached})")

    def note(self, what: object) -> None:
        self._enter()
        self.log.append(what)
        self._inside = False

    def on_start(self) -> None:
        self.note("start")
        self.started.set()

    def on_stop(self) -> None:
        self.note("stop")
        self.stopped.set()

    async def detach(self) -> None:
        await asyncio.sleep(0)
        self._attached = None

    async def attach(self, node: Node) -> None:
        await asyncio.sleep(0)
        self._attached = node

    def on_error(self, error: BaseException) -> None:
        self.failures.append(error)


class Block(Worker):
    """Keeps its node busy, once asked to, until it is released."""

    def __init__(self, latency: float = 1.0) -> None:
        super().__init__()
        self.required_latency = latency
        self.blocked = threading.Event()
        self.released = threading.Event()
        self.stopped = threading.Event()

    def block(self) -> None:
        self.blocked.set()
        assert self.released.wait(PATIENCE)

    def hold(self) -> None:
        """Block the node; returns when it is blocked."""
        self.call_soon(self.block)
        assert self.blocked.wait(PATIENCE)

    def on_stop(self) -> None:
        self.stopped.set()


class MakeForeman(Protocol):
    def __call__(self, **options: Any) -> Foreman: ...


@pytest.fixture(params=LOOPS.values(), ids=list(LOOPS))
def loop_factory(request: pytest.FixtureRequest) -> LoopFactory:
    factory: LoopFactory = request.param
    return factory


@pytest.fixture
def make_foreman(loop_factory: LoopFactory) -> Iterator[MakeForeman]:
    """Started Foremen, stopped at the end; afterwards nothing of them may be left."""
    found = sys.getswitchinterval()
    made: list[Foreman] = []

    def make(**options: Any) -> Foreman:
        foreman = Foreman(**{"loop_factory": loop_factory, **options})
        foreman.start()
        made.append(foreman)
        return foreman

    yield make
    for foreman in made:
        foreman.stop()
    # One that was stuck ends by itself, a little later.
    until(
        lambda: not [t for t in threading.enumerate() if t.name.startswith(("node-", "foreman-"))]
    )
    assert sys.getswitchinterval() == pytest.approx(found)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def foreman(make_foreman: MakeForeman, heard: Heard) -> Foreman:
    return make_foreman(on_event=heard)
