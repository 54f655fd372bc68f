"""picows: WebSocket in Cython. Each frame is written back as it comes.

By default it brings transports of its own (aiofastnet); with ``--uvloop`` it uses the loop's.
"""

from __future__ import annotations

import argparse
import asyncio
from functools import partial

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from benchmark.peers.program import Options, serve


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


async def start(fastnet: bool | None, options: Options) -> asyncio.Server:
    server: asyncio.Server = await ws_create_server(
        lambda _request: Echo(), "127.0.0.1", 0, ssl=options.tls(), use_aiofastnet=fastnet
    )
    return server


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uvloop", action="store_true", help="with the loop's own transports")
    options, found = Options.parse(parser)
    serve(partial(start, False if found.uvloop else None), options)


if __name__ == "__main__":
    main()
