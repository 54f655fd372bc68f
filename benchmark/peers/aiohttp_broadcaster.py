"""aiohttp: each message is sent to one WebSocket after the other, compression and access log off.

A task for each, under `asyncio.gather`, takes longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import WSMsgType, web

from benchmark.peers.aiohttp_server import echo
from benchmark.peers.broadcast import serve

audience: dict[web.WebSocketResponse, None] = {}


async def publish(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse(compress=False)
    await connection.prepare(request)
    audience[connection] = None
    try:
        async for message in connection:
            if message.type == WSMsgType.BINARY:
                for each in list(audience):
                    await each.send_bytes(message.data)
    finally:
        del audience[connection]
    return connection


async def start(
    handler: Callable[[web.Request], Awaitable[web.WebSocketResponse]], path: str
) -> asyncio.Server:
    application = web.Application()
    application.router.add_get("/", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    if path:
        return await loop.create_unix_server(runner.server, path)
    return await loop.create_server(runner.server, "127.0.0.1", 0)


if __name__ == "__main__":
    serve(
        lambda _options, path: start(publish, path),
        lambda _options, path: start(partial(echo, False), path),
    )
