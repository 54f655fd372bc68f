"""Servers on ZeroMQ in this process and in others."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from attrs import define

from netserver.backplane import make_backplane
from netserver.backplane.zeromq.engine import ZmqBackplane
from tests.netserver.backplane.conftest import PATIENCE, Peer
from tests.netserver.wire import Wire


def zmq_of(peer: Peer) -> ZmqBackplane:
    assert isinstance(peer.backplane, ZmqBackplane)
    return peer.backplane


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells of."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def is_heard(peer: Peer, subject: str, payload: bytes = b"?") -> bool:
    """Publish; whether any other server subscribes."""
    unheard: list[bool] = []
    await peer.backplane.publish(subject, payload, lambda: unheard.append(True))
    return not unheard


async def until_heard(peer: Peer, subject: str, heard: bool = True) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if await is_heard(peer, subject) is heard:
                return
            await asyncio.sleep(0.01)


@define(eq=False)
class Site:
    """Makes servers and processes, and ends them."""

    stack: AsyncExitStack

    async def join(self, options: str = "", *, host: str = "127.0.0.1:0") -> Peer:
        peer = Peer(make_backplane(f"zmq://{host}{'?' if options else ''}{options}"))
        self.stack.push_async_callback(peer.backplane.close)
        await peer.start()
        return peer

    async def next_to(self, seed: Peer, options: str = "") -> Peer:
        more = f"&{options}" if options else ""
        return await self.join(f"seeds={zmq_of(seed).address}{more}")

    async def child(self, seed: Peer, *subjects: str) -> Child:
        url = f"zmq://127.0.0.1:0?seeds={zmq_of(seed).address}"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.netserver.backplane.zeromq.child",
            url,
            *subjects,
            stdout=asyncio.subprocess.PIPE,
            cwd=os.getcwd(),
        )
        child = Child(process)
        self.stack.push_async_callback(child.kill)
        assert await child.line() == "ready"
        return child

    async def wire(self, port: int) -> Wire:
        wire = Wire(port)
        await wire.start()
        self.stack.push_async_callback(wire.close)
        return wire


@asynccontextmanager
async def made_site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(stack)


@define(eq=False)
class Child:
    """A server in a process of its own; it prints what it receives."""

    process: asyncio.subprocess.Process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stdout.readline()).decode().strip()

    async def until_received(self, line: str) -> None:
        while (got := await self.line()) != line:
            assert got, "it has ended"

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            # What it printed is read, for a pipe that is full would not end.
            await self.process.communicate()
