"""One connection's callbacks, one at a time and in order, whether they are sync or async."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netserver.shell import Shell


class Serial:
    """Runs callbacks so that the next begins when the one before has ended.

    While nothing async is under way a callback runs at once, on the stack of its caller. Owned by
    the thread of the connection's node.

    Args:
        shell: The connection's; it is told what a callback raises.

    Attributes:
        busy: Whether an async callback is under way, so that further ones have to wait.
        size: The bytes of the messages that wait.
    """

    __slots__ = ("_idle", "_shell", "_task", "_waiting", "busy", "size")

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...], int]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self.busy = False
        self.size = 0

    def call(self, function: Callable[..., Any], *args: Any, size: int = 0) -> None:
        """Run a callback now, or after those that are before it."""
        if self.busy:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append((function, args, size))
            self.size += size
            return
        try:
            result = function(*args)
        except Exception as error:
            self._shell.ending.fail(error)
        else:
            if result is not None:
                self.follow(result)

    def follow(self, result: object) -> None:
        """A callback returned something: if it can be awaited, later ones wait for its end."""
        if isawaitable(result):
            shell = self._shell
            self.busy = True
            self._task = shell.node.create_task(shell.connection, self._run(result))

    def clear(self) -> None:
        """Forget the callbacks that wait; the one under way goes on."""
        if self._waiting is not None:
            self._waiting.clear()
        self.size = 0

    def cancel(self) -> None:
        """Forget the callbacks that wait and cancel the one under way."""
        self.clear()
        if self._task is not None:
            self._task.cancel()

    async def idle(self) -> None:
        """Wait until nothing is under way and nothing waits."""
        while self.busy:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    async def _run(self, awaitable: Awaitable[object]) -> None:
        try:
            await self._guarded(awaitable)
            while self._waiting:
                function, args, size = self._waiting.popleft()
                self.size -= size
                try:
                    result = function(*args)
                except Exception as error:
                    self._shell.ending.fail(error)
                else:
                    if isawaitable(result):
                        await self._guarded(result)
        finally:
            self._task = self._waiting = None
            self.busy = False
            self.size = 0
            if self._idle is not None:
                self._idle.set_result(None)
                self._idle = None

    async def _guarded(self, awaitable: Awaitable[object]) -> None:
        try:
            await awaitable
        except Exception as error:
            self._shell.ending.fail(error)
