"""Servers of others and plain ones, for clients to talk to; coroutine tests on both loops."""

from __future__ import annotations

import asyncio
import gc
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest
import trustme
import uvloop
from attrs import define, field, frozen
from websockets.asyncio.server import ServerConnection, serve, unix_serve

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
LOOPS: dict[str, LoopFactory] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if inspect.iscoroutinefunction(metafunc.function):
        metafunc.fixturenames.append("loop_factory")
        metafunc.parametrize("loop_factory", LOOPS.values(), ids=LOOPS.keys())


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await pyfuncitem.obj(**arguments)

    factory = pyfuncitem.callspec.params["loop_factory"]
    with asyncio.Runner(loop_factory=cast("LoopFactory", factory)) as runner:
        runner.run(bounded())
    # What was left open tells so when it is collected, and warnings are errors here.
    gc.collect()
    return True


@frozen
class Tls:
    """Both ends of TLS for 127.0.0.1, under an authority of its own."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def tls() -> Tls:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Tls(server, client)


@define(eq=False)
class Peer:
    """The server's end of one framed stream, which parses envelopes by itself."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def recv(self) -> bytes:
        width = int(await self.reader.readexactly(1))
        size = int(await self.reader.readexactly(width))
        return await self.reader.readexactly(size)

    async def send(self, payload: bytes) -> None:
        digits = str(len(payload)).encode()
        self.writer.write(b"%d%b%b" % (len(digits), digits, payload))
        await self.writer.drain()


PeerHandler: TypeAlias = Callable[[Peer], Awaitable[None]]
StreamServing: TypeAlias = Callable[..., AbstractAsyncContextManager[int]]
WebSocketHandler: TypeAlias = Callable[[ServerConnection], Awaitable[None]]
WebSocketServing: TypeAlias = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
def serve_streams() -> StreamServing:
    """A plain asyncio server: ``async with serve_streams(handler, tls=, path=, port=) as port``."""

    @asynccontextmanager
    async def serving(
        handler: PeerHandler,
        *,
        tls: ssl.SSLContext | None = None,
        path: Path | None = None,
        port: int = 0,
    ) -> AsyncIterator[int]:
        tasks: set[asyncio.Task[None]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(Peer(reader, writer))
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # the client went away, which is its right
            finally:
                writer.transport.abort()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(handle(reader, writer))
            tasks.add(task)

        if path is not None:
            server = await asyncio.start_unix_server(accepted, path)
        else:
            server = await asyncio.start_server(accepted, "127.0.0.1", port, ssl=tls)
        try:
            yield 0 if path is not None else server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            failures = await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()
            for failure in failures:
                if isinstance(failure, Exception):
                    raise failure

    return serving


@pytest.fixture
def serve_websockets() -> WebSocketServing:
    """A server of the ``websockets`` library; options as for its ``serve``, and ``path=``."""

    @asynccontextmanager
    async def serving(
        handler: WebSocketHandler, *, path: Path | None = None, port: int = 0, **options: Any
    ) -> AsyncIterator[int]:
        if path is not None:
            async with unix_serve(handler, str(path), **options):
                yield 0
        else:
            async with serve(handler, "127.0.0.1", port, **options) as server:
                yield next(iter(server.sockets)).getsockname()[1]

    return serving


@define(eq=False)
class Log:
    """What callbacks were called with; tests wait for an entry, never for a time."""

    entries: list[tuple[Any, ...]] = field(factory=list)
    _changed: asyncio.Event = field(factory=asyncio.Event)

    def __call__(self, name: str) -> Callable[..., None]:
        def note(*arguments: Any) -> None:
            self.entries.append((name, *arguments))
            self._changed.set()

        return note

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [entry for entry in self.entries if entry[0] == name]

    async def until(self, name: str, count: int = 1) -> None:
        while len(self.named(name)) < count:
            self._changed.clear()
            await self._changed.wait()


@pytest.fixture
def log() -> Log:
    return Log()
