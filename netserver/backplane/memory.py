"""``memory://``: all servers in one process; for tests, and for one process alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from threading import Lock
from typing import ClassVar
from weakref import WeakValueDictionary

from netserver.backplane.base import Backplane, LinkState, Receive, Tell, check_subject
from netserver.backplane.errors import LinkDown
from netserver.backplane.url import BackplaneUrl


class Hub:
    """What the backplanes of one name share. Its lock guards everything."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._subscribers: dict[str, dict[MemoryBackplane, None]] = {}

    def subscribe(self, backplane: MemoryBackplane, subject: str) -> None:
        """From now on it gets what is published on the subject."""
        with self._lock:
            self._subscribers.setdefault(subject, {})[backplane] = None

    def unsubscribe(self, backplane: MemoryBackplane, subject: str) -> None:
        """From now on it gets nothing of it."""
        with self._lock:
            if subscribers := self._subscribers.get(subject):
                subscribers.pop(backplane, None)
                if not subscribers:
                    del self._subscribers[subject]

    def publish(self, sender: MemoryBackplane, subject: str, payload: bytes) -> bool:
        """Hand a message to the others that subscribe; whether there were any."""
        # Under the lock, so that all get the messages of a subject in one order.
        with self._lock:
            others = [each for each in self._subscribers.get(subject, ()) if each is not sender]
            for each in others:
                each.hand_over(subject, payload)
        return bool(others)


# Each as long as a backplane has it.
_hubs: WeakValueDictionary[str, Hub] = WeakValueDictionary()
_hubs_lock = Lock()


class MemoryBackplane(Backplane):
    """One server's end in its process. Those of the same name are connected.

    Args:
        url: ``memory://`` and a name, which may be empty; None for one that is alone.
    """

    schemes: ClassVar[tuple[str, ...]] = ("memory",)

    def __init__(self, url: BackplaneUrl | None = None) -> None:
        if url is None:
            self._hub = Hub()
        else:
            url.refuse_options()
            with _hubs_lock:
                self._hub = _hubs.setdefault(url.rest, Hub())
        self._subjects: set[str] = set()

    async def start(self, receive: Receive, tell: Tell) -> None:
        self._loop = asyncio.get_running_loop()
        self._receive, self._tell = receive, tell
        self._become(LinkState.UP, "in this process")

    async def publish(
        self, subject: str, payload: bytes, unheard: Callable[[], None] | None = None
    ) -> None:
        self.check(subject, payload)
        if self.state is not LinkState.UP:
            raise LinkDown("it is closed")
        if not self._hub.publish(self, subject, payload) and unheard is not None:
            unheard()

    async def subscribe(self, subjects: Iterable[str]) -> None:
        for subject in map(check_subject, subjects):
            self._subjects.add(subject)
            self._hub.subscribe(self, subject)

    async def unsubscribe(self, subjects: Iterable[str]) -> None:
        for subject in subjects:
            self._subjects.discard(subject)
            self._hub.unsubscribe(self, subject)

    async def probe(self) -> None:
        if self.state is not LinkState.UP:
            raise LinkDown("it is closed")

    async def restart(self, reason: str) -> None:
        pass  # there is nothing to hang

    async def close(self) -> None:
        await self.unsubscribe(list(self._subjects))
        self.state = LinkState.CLOSED

    def hand_over(self, subject: str, payload: bytes) -> None:
        """Take a message from another's thread. Under the hub's lock."""
        try:
            self._loop.call_soon_threadsafe(self._arrive, subject, payload)
        except RuntimeError:
            pass  # its loop was closed without it: nobody is there

    def _arrive(self, subject: str, payload: bytes) -> None:
        if self.state is LinkState.UP and subject in self._subjects:
            self._receive(subject, payload)

    def _become(self, state: LinkState, why: str) -> None:
        self.state = state
        self._tell(state, why)
