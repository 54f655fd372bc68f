"""websockets: its own `broadcast`, compression off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from websockets.asyncio.server import ServerConnection, broadcast, unix_serve
from websockets.asyncio.server import serve as listen

from benchmark.peers.broadcast import serve
from benchmark.peers.websockets_server import echo

audience: set[ServerConnection] = set()


async def publish(connection: ServerConnection) -> None:
    audience.add(connection)
    try:
        async for message in connection:
            broadcast(audience, message)
    finally:
        audience.discard(connection)


async def start(
    handler: Callable[[ServerConnection], Awaitable[None]], path: str
) -> asyncio.Server:
    if path:
        server = await unix_serve(handler, path, compression=None)
    else:
        server = await listen(handler, "127.0.0.1", 0, compression=None)
    return server.server


if __name__ == "__main__":
    serve(lambda _options, path: start(publish, path), lambda _options, path: start(echo, path))
