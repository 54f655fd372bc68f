"""Carrying a worker to where the Foreman has seated it, one leg per node.

A decision is a change of the worker's `Seat`. Whoever makes it starts a carry unless one is under
way; the carry looks at the seat again after every leg. So decisions that come thick and fast, or
while the worker is between two nodes, need no cases of their own.

While it is carried the worker runs on no node: `Worker._home` is None, and calls handed to it wait
in its mailbox.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

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
        patience: How long a worker may take to let go of its node, seconds; then it stays.
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
        dispatcher = self._dispatcher
        # Asked anew each time, under the lock: the seat may change at any moment.
        while not dispatcher.settled(worker, seat, here):
            if seat.leaving:
                here.run(worker, worker._deliver)  # what was handed over before it was removed
                here.run(worker, worker.on_stop)
                worker._home = None
                here.run(worker, worker._left)
                dispatcher.forget(worker, seat)
                return
            left = here.clock()
            try:
                if not worker.movable:
                    raise NotMovable("it cannot leave its node now")
                async with asyncio.timeout(self._patience):
                    await here.metered(worker, self._let_go(worker))
            except GeneratorExit:  # nobody runs this any more
                raise
            except BaseException as error:  # no worker may end what it shares with others
                reason = f"stayed: {str(error) or type(error).__name__}"
                if not isinstance(error, (NotMovable, asyncio.TimeoutError)):
                    logger.warning("%r could not be detached", worker, exc_info=error)
                if dispatcher.stay(worker, seat, here):
                    dispatcher.tell(Stayed(worker, here, reason))
                    return
                # Removed meanwhile: it is still here, so let it go from here.
            else:
                self._go(worker, seat, here, left)
                return

    @staticmethod
    async def _let_go(worker: Worker) -> None:
        await worker.detach()
        # In the same step: once it has let go, nothing of it may run here any more.
        worker._home = None

    async def _arrive(
        self, worker: Worker, seat: Seat, here: Node, old: Node | None, left: float
    ) -> None:
        """On the new node: take up work there."""
        dispatcher = self._dispatcher
        try:
            await here.metered(worker, worker.attach(here))
        except GeneratorExit:
            raise
        except BaseException as error:
            worker._fail(error)
            if old is not None:
                here.run(worker, worker.on_stop)
            here.run(worker, worker._left)
            dispatcher.forget(worker, seat)
            return
        worker._home = here
        here.adopt(worker)
        if old is None:
            here.run(worker, worker.on_start)
        here.run(worker, worker._arrived, here)
        here.run(worker, worker._deliver)
        if old is not None:
            dispatcher.tell(Moved(worker, old, here, here.clock() - left, seat.reason))
            here.run(worker, worker._moved, old, here)
        await self._leave(worker, seat, here)
