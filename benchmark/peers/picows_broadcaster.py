"""picows: each message is written to every transport in a row, as its documentation advises."""

from __future__ import annotations

import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from benchmark.peers.broadcast import serve
from benchmark.peers.picows_server import Echo
from benchmark.peers.program import Options

audience: dict[WSTransport, None] = {}


class Member(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        audience[transport] = None

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        audience.pop(transport, None)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
            return
        message = frame.get_payload_as_bytes()
        kind = frame.msg_type
        for each in audience:
            each.send(kind, message)


async def publish(_options: Options, _path: str) -> asyncio.Server:
    server: asyncio.Server = await ws_create_server(lambda _request: Member(), "127.0.0.1", 0)
    return server


async def echo(_options: Options, _path: str) -> asyncio.Server:
    server: asyncio.Server = await ws_create_server(lambda _request: Echo(), "127.0.0.1", 0)
    return server


if __name__ == "__main__":
    serve(publish, echo)
