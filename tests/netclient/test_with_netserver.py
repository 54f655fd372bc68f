"""Both ends ours: every URL, and a server that drains and returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netclient import Backoff, Client, blocking
from netserver import Connection, Listener, Server


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


def reach(listener: Listener, scheme: str) -> str:
    address: Any = listener.address
    return (
        f"{scheme}://{address}"
        if isinstance(address, str)
        else f"{scheme}://127.0.0.1:{address[1]}"
    )


@pytest.mark.parametrize("scheme", ["ws", "wss", "ws+unix", "tcp", "tls", "unix"])
async def test_every_url(scheme: str, tmp_path: Path, tls: Any) -> None:
    secure = scheme in ("wss", "tls")
    place = tmp_path / "echo.sock" if "unix" in scheme else "127.0.0.1:0"
    with Server() as server:
        listener = server.listen(f"{scheme}://{place}", Echo, tls=tls.server if secure else None)
        options = {"tls": tls.client} if secure else {}
        async with Client(reach(listener, scheme), **options) as client:
            for message in (b"hello", b"", b"x" * 500_000):
                await client.send(message)
            assert [len(await client.recv(10)) for _ in range(3)] == [5, 0, 500_000]


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_a_server_that_drains_and_returns(scheme: str) -> None:
    with Server() as server:
        url = reach(server.listen(f"{scheme}://127.0.0.1:0", Echo), scheme)
        client = blocking.Client(url, reconnect=Backoff(first=0.01, cap=0.1))
        client.connect()
        client.send(b"one")
        assert client.recv(10) == b"one"
    with Server() as server:
        server.listen(url, Echo)
        client.send(b"two")
        assert client.recv(10) == b"two"
        client.close()
