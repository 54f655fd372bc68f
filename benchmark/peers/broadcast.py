"""What the programs of the broadcast scenario share.

Each listens twice: whatever is sent to the first listener goes to every connection of it, the
sender's too; the second one echoes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import uvloop

from benchmark.peers.program import Options, announce

Start = Callable[[Options, str], Awaitable[asyncio.Server]]


def serve(publish: Start, echo: Start) -> None:
    """Run a program whose servers are asyncio's, on uvloop.

    Args:
        publish, echo: Each returns a server once it listens on 127.0.0.1, port 0, or on the path
            of a Unix socket, which is empty without one.
    """
    options, _ = Options.parse()

    async def main() -> None:
        urls = []
        for index, start in enumerate((publish, echo)):
            path = options.url(index=index).partition("://")[2] if options.unix else ""
            server = await start(options, path)
            port = 0 if options.unix else server.sockets[0].getsockname()[1]
            urls.append(options.url(port, index))
        announce(urls)
        await asyncio.Event().wait()

    uvloop.run(main())
