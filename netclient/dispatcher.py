"""Runs a client's callbacks: in order, one at a time, sync or async."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from attrs import frozen

from netclient.queue import ByteQueue

logger = logging.getLogger(__name__)

Callback: TypeAlias = Callable[..., Awaitable[None] | None]
Call: TypeAlias = tuple[Callback, tuple[Any, ...]]


@frozen(kw_only=True)
class Hooks:
    """Whom a client tells what happens."""

    on_open: Callback
    on_message: Callback
    on_close: Callback
    on_state: Callback


class Dispatcher:
    """One task that takes calls from a queue. Used on one event loop only.

    Args:
        queue: The calls that wait.
        on_error: Told what a callback has raised; it is logged already.
    """

    __slots__ = ("_on_error", "_queue", "_task")

    def __init__(self, queue: ByteQueue[Call], on_error: Callable[[Exception], None]) -> None:
        self._queue = queue
        self._on_error = on_error
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take calls."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def finish(self, timeout: float) -> None:
        """Wait until the calls that are left have run, and cancel them after ``timeout`` seconds.

        From inside a callback it returns at once: a callback cannot wait for its own end.
        """
        self._queue.close()
        if self._task is None or self._task is asyncio.current_task():
            return
        _, late = await asyncio.wait({self._task}, timeout=timeout)
        if late:
            self._task.cancel()
            await asyncio.wait(late)

    async def _run(self) -> None:
        while True:
            try:
                function, arguments = await self._queue.get()
            except EOFError:
                return
            try:
                result = function(*arguments)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                logger.exception("callback %r failed", function)
                self._on_error(error)
