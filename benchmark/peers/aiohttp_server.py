"""aiohttp: a WebSocket handler, access log off, compression as it is by default where asked for."""

from __future__ import annotations

import asyncio
from functools import partial

from aiohttp import WSMsgType, web

from benchmark.peers.program import Options, serve


async def echo(deflate: bool, request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse(compress=deflate)
    await connection.prepare(request)
    async for message in connection:
        if message.type == WSMsgType.BINARY:
            await connection.send_bytes(message.data)
        elif message.type == WSMsgType.TEXT:
            await connection.send_str(message.data)
    return connection


async def start(options: Options) -> asyncio.Server:
    application = web.Application()
    application.router.add_get("/", partial(echo, options.deflate))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    if options.unix:
        return await loop.create_unix_server(runner.server, options.path)
    return await loop.create_server(runner.server, "127.0.0.1", 0, ssl=options.tls())


if __name__ == "__main__":
    serve(start)
