"""The bytes of a NATS link: gathered before they are written, dropped when it is closed."""

from __future__ import annotations

import asyncio
from typing import Any

from nats.aio.transport import TcpTransport

# Bytes written at once at the latest; the mark at which asyncio and uvloop let writers wait.
FLUSH_SIZE = 64 * 1024


class NotSecured(ConnectionError):
    """The broker does not offer TLS, which was asked for."""


class Pipe(TcpTransport):
    """nats-py's TCP connection, written to once per round of the loop, and closed at once.

    Args:
        secured: Whether nothing may be written before TLS has begun.
    """

    def __init__(self, *, secured: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._safe = not secured
        self._closed = False
        self._out: list[bytes] = []
        self._out_size = 0

    def __bool__(self) -> bool:
        return True  # or nats-py makes another one

    async def connect_tls(self, *arguments: Any, **options: Any) -> None:
        await super().connect_tls(*arguments, **options)
        self._safe = True

    def write(self, payload: bytes) -> None:
        if not self._safe:  # CONNECT would carry the credentials
            raise NotSecured("it does not offer TLS")
        super().write(payload)  # type: ignore[no-untyped-call]

    def put(self, *parts: bytes) -> None:
        """Write, at the end of this round of the loop at the latest, with what else is put."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self.push)
        self._out.extend(parts)
        self._out_size += sum(map(len, parts))
        if self._out_size > FLUSH_SIZE:
            self.push()

    def push(self) -> None:
        """Write what was put, if the broker is there to be written to.

        It may be gone without anybody having been told so yet: uvloop's transports raise then,
        where asyncio's warn.
        """
        if self._out:
            writer = self._io_writer
            if not self._closed and writer is not None and not writer.is_closing():
                self.write(b"".join(self._out))
            self._out.clear()
            self._out_size = 0

    @property
    def unsent(self) -> int:
        """Bytes that the broker has not taken yet."""
        if self._io_writer is None:
            return 0
        return self._out_size + self._io_writer.transport.get_write_buffer_size()

    def close(self) -> None:
        self._closed = True
        # Not in good order: that would wait for a broker that hangs.
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    async def wait_closed(self) -> None:
        pass
