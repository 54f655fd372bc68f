"""The cluster's own thread: one event loop, and calls that come to it in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from threading import Lock, Thread, get_ident
from typing import Any, TypeVar

from netserver.cluster.sender import RECORD_COST, Budget

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Lane:
    """A thread with an event loop, begun when it is first needed.

    Whatever is posted from one thread runs in the order of posting. What the nodes do does not
    hold it up, and nothing that it waits for holds up a node.

    Args:
        name: The thread's.
        loop_factory: Makes the loop.
        begin: Awaited first, on the loop; until it returns, calls wait. False where it has told
            somebody why the thread is of no use: it ends then.
        end: Awaited last.

    Attributes:
        lock: Guards what was posted, and the budget of it; not to be held by whoever posts.
    """

    def __init__(
        self,
        name: str,
        loop_factory: Callable[[], asyncio.AbstractEventLoop],
        begin: Callable[[], Awaitable[bool]],
        end: Callable[[], Awaitable[None]],
    ) -> None:
        self._name = name
        self._loop_factory = loop_factory
        self._begin, self._end = begin, end
        self.lock = Lock()  # guards all below
        self._calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._gathers: Callable[..., object] | None = None  # what was posted last, if it gathers
        self._gathered: list[Any] = []  # and what it has gathered
        self._woken = False
        self._loop: asyncio.AbstractEventLoop | None = None  # set while calls are taken
        self._thread: Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._closed = False

    @property
    def here(self) -> bool:
        """Whether this is its thread."""
        thread = self._thread
        return thread is not None and thread.ident == get_ident()

    @property
    def closed(self) -> bool:
        """Whether it takes no more calls, ever."""
        return self._closed

    def start(self) -> bool:
        """Begin, if it has not begun; False when it is closed. Any thread."""
        return self.post(int)

    def post(self, function: Callable[..., object], *args: Any) -> bool:
        """Have a function called on the thread, which is begun for it. Any thread.

        Returns:
            False when it is closed.

        Raises:
            RuntimeError: It has not begun, and the system has no thread to give.
        """
        with self.lock:
            if self._closed:
                return False
            if self._thread is None:
                self._start_thread()
            self._calls.append((function, args))
            self._gathers = None
            if not self._woken:
                self._wake()
        return True

    def gather(
        self, function: Callable[[list[T]], object], item: T, budget: Budget, size: int
    ) -> bool:
        """Have a function called with what is gathered for it in a row. Any thread.

        It is as if each were posted, but one call for all of them.

        Args:
            function: Always the very same object, and never posted.
            item: One more.
            budget, size: What that takes of which budget, which is guarded by `lock`.

        Returns:
            False when there is no room, or it is closed; nothing is taken of the budget then.

        Raises:
            RuntimeError: As `post`; nor is anything taken then.
        """
        with self.lock:
            if self._closed:
                return False
            if self._thread is None:
                self._start_thread()
            # `Budget.take`, written out: every message passes by.
            used = budget.used + size + RECORD_COST
            if used > budget.limit:
                budget.refused += 1
                return False
            budget.used = used
            if self._gathers is function:
                self._gathered.append(item)
            else:
                self._gathers, self._gathered = function, [item]
                self._calls.append((function, (self._gathered,)))
            if not self._woken:
                self._wake()
        return True

    def stop(self, timeout: float) -> bool:
        """Have it do what was posted, and end; whether it did in so many seconds. Any other thread.

        What is posted later is not done.
        """
        with self.lock:
            self._closed = True
            thread, loop, stopping = self._thread, self._loop, self._stopping
            if loop is not None and stopping is not None:
                loop.call_soon_threadsafe(stopping.set)
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _start_thread(self) -> None:
        """Begin. Under the lock, and before anything is posted, for it may fail."""
        self._thread = Thread(target=self._run, name=self._name, daemon=True)
        try:
            self._thread.start()
        except BaseException:  # the next call tries again
            self._thread = None
            raise

    def _wake(self) -> None:
        """Have the thread look at what was posted, as it does when it begins. Under the lock."""
        loop = self._loop
        if loop is not None:
            self._woken = True
            loop.call_soon_threadsafe(self._drain)  # it is not closed meanwhile

    # ---------------------------------------------------------------- on its thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        stopping = asyncio.Event()
        try:
            if not await self._begin():
                return
            with self.lock:
                self._loop = asyncio.get_running_loop()
                self._stopping = stopping
                if self._closed:
                    stopping.set()
            self._drain()
            await stopping.wait()
        except Exception:
            logger.exception("the cluster's thread has ended")
        finally:
            with self.lock:
                self._closed = True
                self._loop = None
            self._drain()  # so that nobody waits for what was posted
            await self._end()

    def _drain(self) -> None:
        with self.lock:
            calls, self._calls = self._calls, []
            self._gathers, self._gathered = None, []
            self._woken = False
        for function, args in calls:
            try:
                function(*args)
            except Exception:
                logger.exception("%r raised", function)
