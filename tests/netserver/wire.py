"""A wire between two programs, which can be cut, or hold everything up: a TCP proxy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from attrs import define, field

# A wire that was mended to crawl carries so many bytes at a time, so many seconds apart.
CRAWL = 100
PACE = 0.005


@define(eq=False)
class Wire:
    """A TCP proxy in front of a port. On the loop on which it was started.

    Attributes:
        back: The port, on 127.0.0.1.
        front: The proxy's own, known from `start` on.
    """

    back: int
    front: int = 0
    _server: asyncio.Server | None = None
    _whole: bool = True
    _crawling: bool = False
    _flowing: asyncio.Event = field(factory=asyncio.Event)
    _ends: set[asyncio.StreamWriter] = field(factory=set)
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    async def start(self) -> None:
        """Listen."""
        self._flowing.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.front = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.back)
        except OSError:
            writer.transport.abort()  # nobody listens there yet, or any more
            return
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            self._ends.add(sink)
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._flowing.wait()
                while self._crawling and data:
                    sink.write(data[:CRAWL])
                    data = data[CRAWL:]
                    await asyncio.sleep(PACE)
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass  # cut
        finally:
            self._ends.discard(sink)
            sink.close()

    def cut(self) -> None:
        """Reset all connections, and every new one."""
        self._whole = False
        for end in list(self._ends):
            end.transport.abort()

    def stall(self) -> None:
        """Carry nothing, and keep all connections: what is sent arrives when it is mended."""
        self._flowing.clear()

    def mend(self) -> None:
        """Carry again."""
        self._whole = True
        self._flowing.set()

    def crawl(self) -> None:
        """Carry again, but slowly: what was sent first arrives well before what came next."""
        self._crawling = True
        self.mend()

    async def close(self) -> None:
        """End."""
        assert self._server is not None
        self._server.close()
        self.cut()
        self._flowing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@define(eq=False)
class Wires:
    """Wires on a thread of their own, broken and mended together by any other thread."""

    loop: asyncio.AbstractEventLoop
    wires: list[Wire] = field(factory=list)

    def add(self, back: int) -> int:
        """Lead to a port by another, which is returned."""
        wire = Wire(back)
        asyncio.run_coroutine_threadsafe(wire.start(), self.loop).result()
        self.wires.append(wire)
        return wire.front

    def cut(self) -> None:
        """As `Wire.cut`."""
        self._all("cut")

    def stall(self) -> None:
        """As `Wire.stall`."""
        self._all("stall")

    def mend(self) -> None:
        """As `Wire.mend`."""
        self._all("mend")

    def crawl(self) -> None:
        """As `Wire.crawl`."""
        self._all("crawl")

    def close(self) -> None:
        for wire in self.wires:
            asyncio.run_coroutine_threadsafe(wire.close(), self.loop).result()

    def _all(self, what: str) -> None:
        for wire in self.wires:
            self.loop.call_soon_threadsafe(getattr(wire, what))


@contextmanager
def running_wires() -> Iterator[Wires]:
    """A thread for wires, for the length of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="wires")
    with ExitStack() as stack:
        stack.callback(loop.close)
        thread.start()
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        wires = Wires(loop)
        stack.callback(wires.close)
        yield wires
