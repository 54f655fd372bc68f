"""What becomes of a message that was sent to somebody: known later, for those who want to know.

A `Delivery` may be looked at, awaited on any loop, waited for in a plain thread, or given a
function to call. It is settled once, by whichever thread knows first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from enum import Enum
from threading import Event, Lock
from typing import Any, Generic, TypeVar

from netserver.cluster.history import Position

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Guards the lists of whoever waits, of all of them: it is held for a moment, and rarely.
_lock = Lock()


class Outcome(Enum):
    """What became of a message.

    Attributes:
        DELIVERED: Handed to at least one connection of whom it is for, to be sent.
        QUEUED: In the history; whoever is not there gets it when they come back.
        NOBODY: Nobody is there; it is gone.
        UNKNOWN: Nothing was heard within the timeout: it may or may not have arrived.
        REFUSED: Not sent: too much waits for the backplane, it does not take the message, or the
            server has ended.
    """

    DELIVERED = "delivered"
    QUEUED = "queued"
    NOBODY = "nobody"
    UNKNOWN = "unknown"
    REFUSED = "refused"


class Settled(Generic[T]):
    """Something that will be known. Thread-safe."""

    __slots__ = ("_value", "_waiting")

    def __init__(self, value: T | None = None) -> None:
        self._value: T | None = value
        self._waiting: list[Callable[[T], object]] | None = None

    @property
    def done(self) -> bool:
        """Whether it is known."""
        return self._value is not None

    def settle(self, value: T) -> bool:
        """It is known now; False when it was before, and stays what it was."""
        with _lock:
            if self._value is not None:
                return False
            self._value = value
            waiting, self._waiting = self._waiting, None
        for function in waiting or ():
            _call(function, value)
        return True

    @classmethod
    def settle_all(cls, them: Iterable[Settled[T]], value: T) -> None:
        """The same for many that become known together."""
        told: list[Callable[[T], object]] = []
        with _lock:
            for each in them:
                if each._value is None:
                    each._value = value
                    if each._waiting is not None:
                        told += each._waiting
                        each._waiting = None
        for function in told:
            _call(function, value)

    def then(self, function: Callable[[T], object]) -> None:
        """Call a function with it: now, when it is known, or on the thread that knows first.

        The function must be quick; a connection may `send` in it. What it raises is logged.
        """
        with _lock:
            value = self._value
            if value is None:
                if self._waiting is None:
                    self._waiting = []
                self._waiting.append(function)
                return
        _call(function, value)

    def wait(self, timeout: float | None = None) -> T:
        """Wait for it in a plain thread, not in a worker's callback, which would stall its node.

        Raises:
            TimeoutError: It took longer than ``timeout`` seconds.
        """
        known = Event()
        self.then(lambda _: known.set())
        if not known.wait(timeout):
            raise TimeoutError
        assert self._value is not None
        return self._value

    def __await__(self) -> Generator[Any, None, T]:
        if self._value is None:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()

            def wake() -> None:
                if not future.done():
                    future.set_result(None)

            def know(_: T) -> None:
                with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
                    loop.call_soon_threadsafe(wake)

            self.then(know)
            yield from future.__await__()
        assert self._value is not None
        return self._value


def _call(function: Callable[[T], object], value: T) -> None:
    """Whoever settles it goes on, and the others who wait are told, whatever one of them does."""
    try:
        function(value)
    except Exception:
        logger.exception("%r raised", function)


class Delivery(Settled[Outcome]):
    """What becomes of a message that was sent to an identity, or into a group's history.

    ``await delivery`` gives its `Outcome`, as does ``delivery.wait(timeout)`` in a plain thread.

    Attributes:
        position: Where it is in the history; None where it is in none, or it is not known yet.
    """

    __slots__ = ("position",)

    def __init__(self, outcome: Outcome | None = None) -> None:
        self._value = outcome  # as in `Settled`, but this is passed for every message
        self._waiting = None
        self.position: Position | None = None

    @property
    def outcome(self) -> Outcome | None:
        """What became of it; None as long as it is not known."""
        return self._value

    def __repr__(self) -> str:
        return f"<Delivery {self._value.value if self._value else 'under way'}>"
