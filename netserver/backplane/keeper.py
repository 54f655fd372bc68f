"""Stays connected to a broker: one link after the other, with waits between that grow."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from netserver.backplane.base import LinkState, Tell
from netserver.backplane.errors import BrokerRefuses, LinkDown
from netwire import Backoff, Retry

log = logging.getLogger(__name__)

Server = TypeVar("Server")

# Reasons for having no link that are remembered, to be logged once only.
MOST_COMPLAINTS = 64


class Keeper(Generic[Server]):
    """Keeps a link to one of several brokers. Used on the loop on which `start` was awaited.

    Args:
        servers: Those to try, in turn; asked for each time that there is no link.
        join: Has a link to one that is ready, with all subscriptions. Raises LinkDown, or
            BrokerRefuses where another attempt would end the same way.
        backoff: How long to wait between attempts at all of them; it never gives up.
        patience: Seconds that `start` waits for the first attempt at all of them.

    Attributes:
        state: How the link stands.
        why: What led to it, in words.
    """

    def __init__(
        self,
        servers: Callable[[], Iterable[Server]],
        join: Callable[[Server], Awaitable[None]],
        backoff: Backoff,
        patience: float,
    ) -> None:
        self.state = LinkState.DOWN
        self.why = "it was not started"
        self._servers = servers
        self._join = join
        self._backoff = backoff
        self._patience = patience
        self._complaints: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self, tell: Tell) -> None:
        """Begin to connect; as `Backplane.start`.

        Raises:
            BrokerRefuses: The first broker that was reached does not want us.
        """
        self._tell = tell
        self._gone = asyncio.Event()
        tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep(tried))
        await asyncio.wait([tried], timeout=self._patience)
        if not tried.cancel():  # from now on, the state tells
            tried.result()

    async def close(self) -> None:
        """Connect no more; the link is left to whoever has it. Never raises."""
        self.state = LinkState.CLOSED
        self.why = "it is closed"
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def require(self) -> None:
        """Nothing, while the link is up.

        Raises:
            LinkDown: It is not.
        """
        if self.state is not LinkState.UP:
            raise LinkDown(self.why)

    def lost(self, why: str) -> None:
        """The link that was joined last has ended."""
        self._gone.set()
        if self.state is LinkState.UP:
            self._become(LinkState.DOWN, why)
        elif self.state is LinkState.DOWN:
            self.why = why

    async def _keep(self, tried: asyncio.Future[None]) -> None:
        """Connect, and do so again whenever the link is lost; until cancelled."""
        loop = asyncio.get_running_loop()
        retry = Retry(self._backoff)
        while True:
            lived = 0.0
            for server in self._servers():
                self._gone.clear()
                try:
                    await self._join(server)
                    if self._gone.is_set():  # its last answer was its last word
                        raise LinkDown(f"{server}: {self.why}")
                except BrokerRefuses as error:
                    if not tried.done():
                        tried.set_exception(error)
                        return
                    self._complain(error.reason)
                except LinkDown as error:
                    self._complain(error.reason)
                except Exception:  # of a library's bug we cannot know; giving up would be worse
                    log.exception("%s cannot be joined", server)
                else:
                    self._complaints.clear()
                    self._become(LinkState.UP, f"connected to {server}")
                    if not tried.done():
                        tried.set_result(None)
                    joined = loop.time()
                    await self._gone.wait()
                    lived = loop.time() - joined
                    break
            if not tried.done():
                tried.set_result(None)
            delay = retry.next_delay(lived, random.random)
            assert delay is not None  # it never gives up
            await asyncio.sleep(delay)

    def _complain(self, why: str) -> None:
        # Once each, until it is up: it may go on for days.
        level = logging.DEBUG if why in self._complaints else logging.WARNING
        log.log(level, "no connection: %s", why)
        if len(self._complaints) < MOST_COMPLAINTS:
            self._complaints.add(why)
        self.why = why

    def _become(self, state: LinkState, why: str) -> None:
        self.state = state
        self.why = why
        self._tell(state, why)
