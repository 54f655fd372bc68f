"""A bare protocol that writes back what it reads: the ceiling for any server in Python."""

from __future__ import annotations

import asyncio
from typing import cast

from benchmark.peers.program import Options, serve


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def start(options: Options) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    if options.unix:
        return await loop.create_unix_server(Echo, options.path)
    return await loop.create_server(Echo, "127.0.0.1", 0, ssl=options.tls())


if __name__ == "__main__":
    serve(start)
