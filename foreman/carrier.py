"""Carrying a worker to where the Foreman has seated it, one leg per node.

A decision is a change of the worker's `Seat`. Whoever makes it starts a carry unless one is under
way; the carry looks at the seat again after every leg. So decisions that come thick and fast, or
while the worker is between two nodes, need no cases of their own.

While it is carried the worker runs on no node: `Worker._home` is None, and calls handed to it wait
in its mailbox. Its hooks, `detach` and `attach`, are the user's: each has its time (`Attempt`), so
that whatever waits for the carry goes on, whatever they do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from foreman.attempt import Attempt
from foreman.errors import NotMovable, NotRunning
from foreman.events import Moved, Stayed

if TYPE_CHECKING:
    from foreman.dispatcher import Dispatcher
    from foreman.node import Node
    from foreman.seat import Seat
    from foreman.worker import Worker

logger = logging.getLogger(__name__)


class Carrier:
    """Carries out what the Foreman decided. Holds no state: a carry lives in its coroutines.

    Args:
        dispatcher: Whose lock guards the seats.
        patience: How long a worker may take to let go of its node, seconds; then it stays. And how
            long to take up work on a node, its first one too; then it is let go.
    """

    def __init__(self, dispatcher: Dispatcher, patience: float) -> None:
        self._dispatcher = dispatcher
        self._patience = patience

    def fetch(self, worker: Worker, seat: Seat, home: Node | None) -> None:
        """Begin to carry the worker from ``home``; None when it is on no node yet."""
        if home is None:
            self._go(worker, seat, None, 0.0)
            return
        try:
            home.run_coroutine(self._leave(worker, seat, home))
        except NotRunning as error:
            self._lose(worker, seat, error)

    def _go(self, worker: Worker, seat: Seat, old: Node | None, left: float) -> None:
        target = self._dispatcher.embark(seat)
        try:
            target.run_coroutine(self._arrive(worker, seat, target, old, left))
        except NotRunning as error:
            self._lose(worker, seat, error)

    def _lose(self, worker: Worker, seat: Seat, error: NotRunning) -> None:
        logger.warning("%r runs nowhere any more: %s", worker, error)
        try:
            worker._left()
        except Exception:
            logger.exception("%r raised on leaving", worker)
        self._dispatcher.forget(worker, seat)

    async def _leave(self, worker: Worker, seat: Seat, here: Node) -> None:
        """Where it is: unless it is to be here, let the worker let go and send it on its way."""
        # Asked under the lock: the seat may change at any moment.
        if self._dispatcher.settled(worker, seat, here):
            return
        if seat.leaving:
            self._end(worker, seat, here)
            return
        left = here.clock()
        stays = partial(self._stays, worker, seat, here)
        if await self._attempt(here, worker, "let go of", stays, _let_go, worker):
            # In the same step: once it has let go, nothing of it may run here any more.
            worker._home = None
            self._go(worker, seat, here, left)

    def _stays(self, worker: Worker, seat: Seat, here: Node, error: BaseException) -> None:
        """It did not let go: it goes on here, unless it was removed meanwhile."""
        reason = f"stayed: {str(error) or type(error).__name__}"
        if not isinstance(error, (NotMovable, TimeoutError)):
            logger.warning("%r could not be detached", worker, exc_info=error)
        if self._dispatcher.stay(worker, seat, here):
            self._dispatcher.tell(Stayed(worker, here, reason))
        else:
            self._end(worker, seat, here)

    def _end(self, worker: Worker, seat: Seat, here: Node) -> None:
        """Where it is: it was removed."""
        if worker._mailbox is not None:
            here.run(worker, worker._deliver)  # what was handed over before
        here.run(worker, worker.on_stop)
        worker._home = None
        here.run(worker, worker._left)
        self._dispatcher.forget(worker, seat)

    async def _arrive(
        self, worker: Worker, seat: Seat, here: Node, old: Node | None, left: float
    ) -> None:
        """On the new node: take up work there."""
        fails = partial(self._fails, worker, seat, here, old)
        if not await self._attempt(here, worker, "arrived on", fails, worker.attach, here):
            return
        worker._home = here
        here.adopt(worker)
        if old is None:
            here.run(worker, worker.on_start)
        here.run(worker, worker._arrived, here)
        if worker._mailbox is not None:  # one that is made only now finds the worker at home
            here.run(worker, worker._deliver)
        if old is not None:
            self._dispatcher.tell(Moved(worker, old, here, here.clock() - left, seat.reason))
            here.run(worker, worker._moved, old, here)
        await self._leave(worker, seat, here)

    def _fails(
        self, worker: Worker, seat: Seat, here: Node, old: Node | None, error: BaseException
    ) -> None:
        """It did not arrive, and has left where it was: it ends."""
        try:
            worker._fail(error)
        except Exception:
            logger.exception("%r raised when it was told of its failure", worker)
        if old is not None:
            here.run(worker, worker.on_stop)
        here.run(worker, worker._left)
        self._dispatcher.forget(worker, seat)

    async def _attempt(
        self,
        here: Node,
        worker: Worker,
        what: str,
        failed: Callable[[BaseException], None],
        hook: Callable[..., Any],
        *args: Any,
    ) -> bool:
        """Await a hook of the worker's; when it raises or takes too long ``failed`` is called.

        In what that is told, ``what`` is what the worker was to do with the node. It is also called
        when the hook would not even end when cancelled: from the loop then, and this may never
        return.

        Returns:
            Whether it did what it is for.
        """

        def too_long() -> TimeoutError:  # seldom, so it is put into words then
            return TimeoutError(f"it had not {what} {here.name} after {self._patience:g} s")

        def given_up() -> None:
            failed(too_long())

        attempt = Attempt(here, worker, hook, args, self._patience, given_up)
        try:
            await attempt
        except BaseException as error:  # no worker may end what it shares with others
            if attempt.closed:  # nobody runs this any more
                raise
            if not attempt.over:
                ended = attempt.late and isinstance(error, asyncio.CancelledError)
                failed(too_long() if ended else error)
            return False
        return True


async def _let_go(worker: Worker) -> None:
    if not worker.movable:
        raise NotMovable("it cannot leave its node now")
    await worker.detach()
