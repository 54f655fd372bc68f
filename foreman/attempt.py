"""A hook of a worker's that has its time, and not more, whatever it does about it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foreman.node import Node
    from foreman.worker import Worker

logger = logging.getLogger(__name__)

# Its time is counted in so many steps. While somebody else keeps the node, no more than one of them
# passes: a hook that needs a few turns of the loop gets them, however long those take.
STEPS = 4


class Attempt(Coroutine[Any, Any, None], Generator[Any, Any, None]):
    """A worker's hook, to be awaited once by a task of ours.

    When its time is over the hook is cancelled. If it has not ended a quarter of that time later,
    it is closed where it stands (`GeneratorExit`), nothing of it runs any more, whether or not it
    closes, and ``given_up`` is called from the loop. The task may be left waiting after that; if
    it is woken, `over` tells that there is nothing left to be done.

    Owned by the thread of the node.

    Args:
        node: Where it runs; each step of it is a hold of the worker's.
        worker: Whose it is.
        hook: What to call; it returns something that can be awaited.
        args: Its arguments.
        seconds: How long it may take.
        given_up: What happens when it does not end.

    Attributes:
        closed: Whether whoever awaited it is not run any more.
        late: Whether its time is over, and it was cancelled for it.
        over: Whether it was given up.
    """

    __slots__ = (
        "_given_up",
        "_node",
        "_step",
        "_steps",
        "_task",
        "_timer",
        "_walk",
        "_worker",
        "closed",
        "late",
        "over",
    )

    def __init__(
        self,
        node: Node,
        worker: Worker,
        hook: Callable[..., Any],
        args: tuple[Any, ...],
        seconds: float,
        given_up: Callable[[], None],
    ) -> None:
        self._node = node
        self._worker = worker
        self._walk = node.metered(worker, _await(hook, args))
        self._step = seconds / STEPS
        self._steps = 0
        self._given_up = given_up
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False
        self.late = False
        self.over = False

    def send(self, value: Any) -> Any:
        return self._go_on(self._walk.send, value)

    def throw(self, *exception: Any) -> Any:
        try:
            return self._go_on(self._walk.throw, *exception)
        finally:
            del exception  # it holds this call, which would hold it: a circle

    def close(self) -> None:
        self.closed = True
        self._end()
        self._walk.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self

    def _go_on(self, step: Callable[..., Any], *args: Any) -> Any:
        if self.over:  # the task was woken; nothing is left to be done
            raise asyncio.CancelledError
        try:
            waits_for = step(*args)
        except BaseException:  # StopIteration, too
            self._end()
            raise
        finally:
            del args
        if self._timer is None:  # most need not wait
            self._task = asyncio.current_task()
            self._timer = self._node.loop.call_later(self._step, self._tick)
        return waits_for

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.late and self._task is not None:
            self._task.uncancel()
        self._task = None

    def _tick(self) -> None:
        self._steps += 1
        if self._steps > STEPS:
            self._give_up()
            return
        self._timer = self._node.loop.call_later(self._step, self._tick)
        if self._steps == STEPS:
            self.late = True
            assert self._task is not None
            self._task.cancel()

    def _give_up(self) -> None:
        self.over = True
        task, self._task = self._task, None
        assert task is not None
        logger.warning("a hook of %r would not end when cancelled, and was closed", self._worker)
        self._node.enter(self._worker)
        try:
            self._walk.close()
        except BaseException:  # it goes on waiting; but nobody wakes it any more
            logger.debug("nor did it end when closed", exc_info=True)
        finally:
            self._node.leave(self._worker)
        self._given_up()
        task.cancel()


async def _await(hook: Callable[..., Any], args: tuple[Any, ...]) -> None:
    await hook(*args)
