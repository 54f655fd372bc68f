"""The bytes of a NATS link, when the broker goes in the worst moment."""

from __future__ import annotations

import asyncio
import socket
import struct
from urllib.parse import urlparse

import pytest

from netserver.backplane.nats.pipe import FLUSH_SIZE, Pipe
from tests.netserver.conftest import LOOPS


@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_put_after_a_reset_is_dropped(loop: str) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            pipe = Pipe(secured=False)
            await pipe.connect(urlparse(f"nats://127.0.0.1:{port}"), 65536, 5)
            peer, _ = server.accept()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            with pytest.raises(ConnectionResetError):
                await pipe.read(1)
            pipe.put(b"PING\r\n")
            pipe.push()
            pipe.put(bytes(FLUSH_SIZE + 1))
            assert pipe.unsent == 0
            pipe.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(scenario())
