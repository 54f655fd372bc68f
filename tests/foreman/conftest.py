"""Foremen on both event loops, workers that watch themselves, and ears for events."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import pytest
import uvloop

from foreman import BestFit, Demand, Foreman, Node, Worker
from foreman.decisions import Action, Placement
from foreman.demand import Group, Snapshot
from foreman.events import Event

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
LOOPS: dict[str, LoopFactory] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
PATIENCE = 30.0  # seconds; against hanging only
STRICT = 0.05  # seconds
LONG = 0.08  # a hold that breaks a strict promise, seconds

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


async def opened(gate: threading.Event) -> None:
    """A gate that another thread opens, waited at without blocking the loop."""
    while not gate.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


class Reluctant(Probe):
    """Its hooks wait at a gate, on the node's loop, and then do as told."""

    def __init__(self, latency: float | None = None) -> None:
        super().__init__(latency)
        self.leaving = threading.Event()
        self.arriving = threading.Event()
        self.may_leave = threading.Event()
        self.may_arrive = threading.Event()
        self.may_leave.set()
        self.may_arrive.set()
        self.detach_error: BaseException | None = None
        self.attach_error: BaseException | None = None

    async def detach(self) -> None:
        self.leaving.set()
        await opened(self.may_leave)
        if self.detach_error is not None:
            raise self.detach_error
        await super().detach()

    async def attach(self, node: Node) -> None:
        self.arriving.set()
        await opened(self.may_arrive)
        if self.attach_error is not None:
            raise self.attach_error
        await super().attach(node)


class Handler(Probe):
    """Does nothing, then sleeps or computes, each time it is asked to work."""

    required_latency = STRICT

    def __init__(self) -> None:
        super().__init__()
        self.work: Callable[[], object] = int
        self.worked = threading.Semaphore(0)

    def handle(self) -> None:
        self._enter()
        self.work()
        self._inside = False
        self.worked.release()

    def sleep(self) -> None:
        time.sleep(LONG)

    def burn(self) -> None:
        ends = time.thread_time() + LONG
        while time.thread_time() < ends:
            pass


def handle(handlers: Sequence[Handler], times: int = 1) -> None:
    """Have each of them work so many times, all at the same time."""
    for _ in range(times):
        for handler in handlers:
            handler.call_soon(handler.handle)
        for handler in handlers:
            assert handler.worked.acquire(timeout=PATIENCE)


def handle_until(handlers: Sequence[Handler], holds: Callable[[], object]) -> None:
    """Have them work again and again."""
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, "worked in vain"
        handle(handlers)


class Told:
    """A policy that places like `BestFit`, and reviews as the test says.

    An order is an action, or a function that makes actions of the snapshot, or raises.

    Attributes:
        placed: What it was asked to place.
    """

    def __init__(self, rules: BestFit | None = None) -> None:
        self.rules = rules or BestFit()
        self.orders: deque[Action | Callable[[Snapshot], Sequence[Action]]] = deque()
        self.placed: list[Demand] = []

    def assume(self, kind: str, required_latency: float, shown: Demand | None) -> Demand:
        return self.rules.assume(kind, required_latency, shown)

    def place(
        self, demand: Demand, snapshot: Snapshot, home: str | None = None, avoid: str | None = None
    ) -> Placement:
        self.placed.append(demand)
        return self.rules.place(demand, snapshot, home, avoid)

    def review(self, snapshot: Snapshot) -> Sequence[Action]:
        try:
            order = self.orders.popleft()
        except IndexError:
            return []
        return order(snapshot) if callable(order) else [order]

    def order(
        self, foreman: Foreman, order: Action | Callable[[Snapshot], Sequence[Action]]
    ) -> None:
        """Have it carried out; by the watcher, should that come first."""
        self.orders.append(order)
        foreman._dispatcher.review()


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
