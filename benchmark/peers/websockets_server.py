"""websockets: its asyncio server, compression as it is by default where asked for."""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.asyncio.server import serve as listen

from benchmark.peers.program import Options, serve


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def start(options: Options) -> asyncio.Server:
    compression = "deflate" if options.deflate else None
    if options.unix:
        server = await unix_serve(echo, options.path, compression=compression)
    else:
        server = await listen(echo, "127.0.0.1", 0, ssl=options.tls(), compression=compression)
    return server.server


if __name__ == "__main__":
    serve(start)
