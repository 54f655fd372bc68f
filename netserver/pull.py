"""Messages for those who pull: ``async for message in connection``."""

from __future__ import annotations

import asyncio
from collections import deque

from foreman import Node
from netwire import Message


class Pull:
    """Messages between the wire and a `Connection.handle`. Owned by the node's thread.

    Attributes:
        node: Where they are pulled; who pulls does not move.
        ended: Whether no more come; those that wait are still given out.
        size: The bytes of the messages that wait.
    """

    __slots__ = ("_arrived", "_messages", "ended", "node", "size")

    def __init__(self, node: Node) -> None:
        self._messages: deque[Message] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self.node = node
        self.ended = False
        self.size = 0

    def __bool__(self) -> bool:
        """Whether a message waits."""
        return bool(self._messages)

    def put(self, message: Message) -> None:
        self._messages.append(message)
        self.size += len(message)
        self._wake()

    def take(self) -> Message:
        """The oldest message; there must be one."""
        message = self._messages.popleft()
        self.size -= len(message)
        return message

    def end(self) -> None:
        """No more messages come; those that wait are still given out."""
        self.ended = True
        self._wake()

    async def changed(self) -> None:
        """Wait for a message or the end."""
        self._arrived = asyncio.get_running_loop().create_future()
        try:
            await self._arrived
        finally:
            self._arrived = None

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
