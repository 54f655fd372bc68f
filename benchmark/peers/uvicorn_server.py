"""uvicorn: an ASGI application on its websockets implementation, logs off.

Compression is as it is by default where asked for, and off elsewhere.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
import uvloop

from benchmark.peers.program import Options, announce

Event = dict[str, Any]


async def echo(
    scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
) -> None:
    assert scope["type"] == "websocket"
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({**event, "type": "websocket.send"})


def main() -> None:
    options, _ = Options.parse()
    secured = options.tls() is not None
    config = uvicorn.Config(
        echo,
        loop="none",
        ws="websockets",
        lifespan="off",
        log_level="error",
        ws_per_message_deflate=options.deflate,
        ws_ping_interval=None,
        ssl_certfile=options.certificate if secured else None,
    )
    if options.unix:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(options.path)
    else:
        listener = socket.create_server(("127.0.0.1", 0))
    listener.listen(config.backlog)
    announce([options.url(0 if options.unix else listener.getsockname()[1])])
    uvloop.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
