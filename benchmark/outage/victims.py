"""What is taken away: a broker, or the other server where there is none; and its return."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from enum import Enum
from typing import Protocol

from attrs import define, field, frozen

from benchmark.brokers.nats import nats_server
from benchmark.brokers.process import BrokerProcess, free_port
from benchmark.brokers.rabbitmq import rabbitmq_server
from benchmark.errors import BenchmarkError
from benchmark.outage.site import LISTENERS
from benchmark.processes import READY_TIMEOUT, Child, child

SITE = "benchmark.outage.site"
AMQP_HELLO = b"AMQP\x00\x00\x09\x01"  # the protocol header of AMQP 0-9-1, section 4.2.2
GLANCE = 0.01  # seconds between two looks whether a broker answers
ANSWER = 1.0  # seconds that it may take to


class Fault(Enum):
    """What is done."""

    KILLED = "killed"
    FROZEN = "frozen"


class Victim(Protocol):
    """What can be taken away."""

    async def strike(self, fault: Fault) -> None:
        """Kill it with SIGKILL, or halt it with SIGSTOP."""

    async def restore(self, fault: Fault) -> None:
        """Start it again, or let it go on; returns when it accepts connections and answers."""


@frozen
class Broker:
    """A broker's process.

    Args:
        process: The process.
        port: Where it listens, on 127.0.0.1.
        hello: What a client says first, so that it answers.
    """

    process: BrokerProcess
    port: int
    hello: bytes

    async def strike(self, fault: Fault) -> None:
        if fault is Fault.KILLED:
            self.process.kill()
        else:
            self.process.freeze()

    async def restore(self, fault: Fault) -> None:
        await _to_its_end(self._start if fault is Fault.KILLED else self._thaw)

    def _start(self) -> None:
        self.process.start()
        self._wait()

    def _thaw(self) -> None:
        self.process.thaw()
        self._wait()

    def _wait(self) -> None:
        """Wait until it answers, which takes no longer than it may take to start."""
        ends = time.monotonic() + self.process.patience
        while not self._answers():
            if time.monotonic() > ends:
                raise BenchmarkError(f"{self.process.name} does not answer")
            time.sleep(GLANCE)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER) as connection:
                connection.sendall(self.hello)
                return bool(connection.recv(1))
        except OSError:
            return False


async def _to_its_end(function: Callable[[], None]) -> None:
    """Run what blocks in a thread; whoever cancels waits for it, for then it can be undone."""
    task = asyncio.create_task(asyncio.to_thread(function))
    try:
        await asyncio.shield(task)
    finally:
        if not task.done():
            await asyncio.wait([task])


@define(eq=False)
class Post:
    """A server's place: a process after the other, on the same ports.

    Attributes:
        name: What errors call it.
        cluster: Its backplane's URL.
        probe_timeout: As of `netserver.ClusterConfig`.
        ports: Of its listeners.
    """

    name: str
    cluster: str
    probe_timeout: float
    ports: list[int] = field(factory=lambda: [free_port() for _ in LISTENERS])
    _child: Child | None = None
    _stack: AsyncExitStack = field(factory=AsyncExitStack)

    @property
    def child(self) -> Child:
        """Its process."""
        assert self._child is not None
        return self._child

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        return [f"ws://127.0.0.1:{port}" for port in self.ports]

    async def start(self) -> None:
        """Start it, and wait until it listens and has joined the others."""
        arguments = ["--cluster", self.cluster, "--probe-timeout", str(self.probe_timeout)]
        for port in self.ports:
            arguments += ["--port", str(port)]
        started = child(f"server {self.name}", SITE, arguments, None)
        self._child = await self._stack.enter_async_context(started)
        await self._child.read(READY_TIMEOUT)

    async def stop(self) -> None:
        """End it, whatever was done to it."""
        if self._child is not None and self._child.process.returncode is None:
            self._child.process.send_signal(signal.SIGCONT)
        await self._stack.aclose()

    async def strike(self, fault: Fault) -> None:
        process = self.child.process
        if fault is Fault.KILLED:
            process.kill()
            await process.wait()
        else:
            if process.returncode is not None:
                await self.child.read(ANSWER)  # raises what it said before it ended by itself
            process.send_signal(signal.SIGSTOP)

    async def restore(self, fault: Fault) -> None:
        if fault is Fault.KILLED:
            await self._stack.aclose()
            await self.start()
        else:
            self.child.process.send_signal(signal.SIGCONT)


@frozen(kw_only=True)
class Ground:
    """A backplane for two servers.

    Args:
        urls: What each is told.
        broker: Its broker; None where it has none, and the second server is taken away.
    """

    urls: Callable[[], list[str]]
    broker: Broker | None = None


@contextmanager
def _nats() -> Iterator[Ground]:
    with nats_server() as broker:
        yield Ground(urls=lambda: [broker.url] * 2, broker=Broker(broker.process, broker.port, b""))


@contextmanager
def _amqp() -> Iterator[Ground]:
    with rabbitmq_server() as broker:
        victim = Broker(broker.process, broker.port, AMQP_HELLO)
        yield Ground(urls=lambda: [broker.url] * 2, broker=victim)


@contextmanager
def _zmq() -> Iterator[Ground]:
    def urls() -> list[str]:
        one, other = free_port(), free_port()
        return [f"zmq://127.0.0.1:{one}", f"zmq://127.0.0.1:{other}?seeds=127.0.0.1:{one}"]

    yield Ground(urls=urls)


GROUNDS: Mapping[str, Callable[[], AbstractContextManager[Ground]]] = {
    "nats": _nats,
    "amqp": _amqp,
    "zmq": _zmq,
}
