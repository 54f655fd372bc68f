"""One connection's callbacks, one at a time and in order, whether they are sync or async."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from netserver.intake import QUANTUM

if TYPE_CHECKING:
    from netserver.shell import Shell


class Serial:
    """Runs callbacks so that the next begins when the one before has ended.

    While nothing async is under way a callback runs at once, on the stack of its caller. Owned by
    the thread of the connection's node.

    Args:
        shell: The connection's; it is told what a callback raises.

    Attributes:
        busy: Whether an async callback is under way, or waits, so that further ones have to wait.
        size: The bytes of the messages that wait.
    """

    __slots__ = ("_idle", "_last", "_shell", "_suspended", "_task", "_waiting", "busy", "size")

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        # Each with the size of its message; None for a callback that brings none.
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...], int | None]] | None = None
        self._last: deque[Callable[[], Any]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._suspended = False
        self.busy = False
        self.size = 0

    @property
    def running(self) -> bool:
        """Whether an async callback is under way."""
        return self._task is not None

    @property
    def has_messages(self) -> bool:
        """Whether messages wait for their handler, empty ones too."""
        return any(size is not None for _, _, size in self._waiting or ())

    def call(self, function: Callable[..., Any], *args: Any, size: int | None = None) -> None:
        """Run a callback now, or after those that are before it.

        Args:
            function, args: The callback.
            size: The bytes of the message it hands out; None when it hands out none.
        """
        if self.busy:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append((function, args, size))
            self.size += size or 0
        elif (rest := self._begin(function, args)) is not None:
            self._start(rest)

    def call_first(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a callback that brings no message now, or before all those that wait."""
        if self._waiting:
            self._waiting.appendleft((function, args, None))
        else:
            self.call(function, *args)

    def call_last(self, function: Callable[[], Any]) -> None:
        """Run a callback now, or when none of the others waits any more."""
        if self.busy:
            if self._last is None:
                self._last = deque()
            self._last.append(function)
        elif (rest := self._begin(function, ())) is not None:
            self._start(rest)

    def follow(self, result: object) -> None:
        """A callback returned something: if it can be awaited, later ones wait for its end."""
        if isawaitable(result):
            self._start(result)

    def forget_messages(self) -> None:
        """Hand out none of the messages that wait; the callback under way goes on."""
        if self._waiting is not None:
            self._waiting = deque(entry for entry in self._waiting if entry[2] is None)
        self.size = 0

    def cancel(self) -> None:
        """Forget the messages that wait and cancel the callback under way."""
        self.forget_messages()
        if self._task is not None:
            self._task.cancel()

    def suspend(self) -> None:
        """Begin none of those that wait until `resume`, which may be on another node."""
        self._suspended = True

    def resume(self) -> None:
        """Go on where `suspend` interrupted it."""
        self._suspended = False
        if self.busy and self._task is None:
            self._start(None)

    async def quiet(self) -> None:
        """Wait until nothing is under way; after `suspend`, others may wait on."""
        while self._task is not None:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def _start(self, awaitable: Awaitable[object] | None) -> None:
        shell = self._shell
        self.busy = True
        self._task = shell.node.create_task(shell.connection, self._run(awaitable))

    async def _run(self, awaitable: Awaitable[object] | None) -> None:
        node = self._shell.node
        try:
            while True:
                if awaitable is not None:
                    await self._guarded(awaitable)
                if self._suspended:
                    return
                if self._waiting:
                    function, args, size = self._waiting[0]
                    if size is not None and node.clock() - node.hold_began >= QUANTUM:
                        awaitable = asyncio.sleep(0)  # the others on the node are due
                        continue
                    self._waiting.popleft()
                    self.size -= size or 0
                    awaitable = self._begin(function, args)
                elif self._last:
                    awaitable = self._begin(self._last.popleft(), ())
                else:
                    return
        finally:
            self._task = None
            if not self._waiting and not self._last:
                self._waiting = self._last = None
                self.busy = False
                self.size = 0
            if self._idle is not None:
                self._idle.set_result(None)
                self._idle = None

    def _begin(
        self, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> Awaitable[object] | None:
        """Run a callback; returns what is left of it to be awaited."""
        try:
            result = function(*args)
        except BaseException as error:  # as in Node.run
            self._shell.ending.fail(error)
            return None
        # Most return None, and to ask about it takes a microsecond.
        return result if result is not None and isawaitable(result) else None

    async def _guarded(self, awaitable: Awaitable[object]) -> None:
        try:
            await awaitable
        except BaseException as error:
            task = self._task
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                task.uncancel()  # so that those that wait, the last ones above all, have their turn
            else:
                self._shell.ending.fail(error)
