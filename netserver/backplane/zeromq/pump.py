"""Reading a ZeroMQ socket on an event loop, many messages per wake-up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import zmq

# So long it goes on reading before the loop's other work has its turn, seconds: shorter than what
# the strictest connection waits.
_PASS = 0.002


class Pump:
    """Hands over what a socket receives. On the loop's thread.

    The descriptor of a ZeroMQ socket tells of a change, not of a state, and sending uses up what
    it tells: so it is read until nothing is left, and looked at again after each `send`.

    Args:
        take: Called with the parts of each message.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        take: Callable[[list[bytes]], None],
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._take = take
        self._descriptor = int(socket.FD)
        self._looking = False
        loop.add_reader(self._descriptor, self.read)
        self._look_soon()

    def send(self, parts: Sequence[bytes]) -> None:
        """Send a message without waiting.

        Raises:
            zmq.ZMQError: `zmq.Again` when the queue is full, EHOSTUNREACH when a ROUTER knows
                no such peer.
        """
        self._socket.send_multipart(parts, zmq.NOBLOCK)
        self._look_soon()

    def close(self, linger: int = 0) -> None:
        """Close the socket too; what was sent goes out for so many milliseconds more."""
        if not self._socket.closed:
            self._loop.remove_reader(self._descriptor)
            self._socket.close(linger)

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        if not self._socket.closed and int(self._socket.EVENTS) & zmq.POLLIN:
            self.read()

    def read(self) -> None:
        """Hand over what is there."""
        socket, take, time = self._socket, self._take, self._loop.time
        end = time() + _PASS
        while time() < end:
            if socket.closed:  # by what was just taken
                return
            try:
                parts = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                take(parts)
            except Exception as error:
                # Nobody would read on: the descriptor does not tell of what is there already.
                self._loop.call_exception_handler(
                    {"message": "taking a ZeroMQ message failed", "exception": error}
                )
        self._look_soon()
