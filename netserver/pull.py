"""Messages for those who pull: ``async for message in connection``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from netwire import Message


class Pull:
    """Messages between the wire and a `Connection.handle`. Owned by the node's thread.

    Args:
        taken: Called after a message was taken.

    Attributes:
        size: The bytes of the messages that wait.
    """

    __slots__ = ("_arrived", "_ended", "_messages", "_taken", "size")

    def __init__(self, taken: Callable[[], None]) -> None:
        self._messages: deque[Message] = deque()
        self._taken = taken
        self._arrived: asyncio.Future[None] | None = None
        self._ended = False
        self.size = 0

    def put(self, message: Message) -> None:
        self._messages.append(message)
        self.size += len(message)
        self._wake()

    def end(self) -> None:
        """No more messages come; those that wait are still given out."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            while self._messages:
                message = self._messages.popleft()
                self.size -= len(message)
                self._taken()
                yield message
            if self._ended:
                return
            self._arrived = asyncio.get_running_loop().create_future()
            try:
                await self._arrived
            finally:
                self._arrived = None
