"""The face of the closed loop, in slices of time, and what can go wrong in any load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from typing import ClassVar

from benchmark.histogram import Histogram
from benchmark.load.native_tls import Channel


class LoadError(Exception):
    """The load could not be brought to its end; the message says why."""


class Mismatch(LoadError):
    """A server sent other bytes than it was sent.

    Args:
        connection: Number of the connection.
        message: Number of the reply on that connection.
        offset: First byte of the reply, its header included, that differs.
        expected: The byte that should have come.
        received: The byte that came.
    """

    def __init__(
        self, connection: int, message: int, offset: int, expected: int, received: int
    ) -> None:
        super().__init__(
            f"connection {connection}, reply {message}: byte {offset} is {received:#04x} and"
            f" not {expected:#04x}; the server did not send back what it was sent"
        )


class WrongByte(Exception):
    """A byte of a reply's frame that is not as it must be; a `Mismatch` says where.

    Args:
        offset: Where in the frame.
        expected: The byte that should have come.
        received: The byte that came.
    """

    def __init__(self, offset: int, expected: int, received: int) -> None:
        super().__init__(offset, expected, received)
        self.offset = offset
        self.expected = expected
        self.received = received


class Undecodable(Exception):
    """A compressed reply that cannot be inflated, or has another size; `Corrupt` says which."""


class Corrupt(LoadError):
    """A server sent a compressed reply that cannot be inflated, or has another size."""

    def __init__(self, connection: int, message: int) -> None:
        super().__init__(
            f"connection {connection}, reply {message}: it cannot be inflated to what was sent"
        )


class Unasked(LoadError):
    """A server sent more than it was asked for."""

    def __init__(self, connection: int, message: int) -> None:
        super().__init__(f"connection {connection} got more than the {message} replies it is owed")


class ConnectionLost(LoadError):
    """A server ended a connection under load."""

    def __init__(self, connection: int, message: int, why: str) -> None:
        super().__init__(f"connection {connection} ended after {message} replies: {why}")


class Stalled(LoadError):
    """A server owed a reply and sent nothing for too long."""

    def __init__(self, connection: int, seconds: float) -> None:
        super().__init__(f"connection {connection} got no reply for {seconds:g} s")


class LoadClient(ABC):
    """Connections under load. One thread uses it.

    Times are nanoseconds of `time.monotonic_ns`. A client takes ownership of its sockets.

    Attributes:
        name: What a report calls it.
        histogram: Latency of every reply since it was last cleared.
        negotiated: What was agreed on about compression; None where there is none.
    """

    name: ClassVar[str]
    histogram: Histogram
    negotiated: str | None = None

    @abstractmethod
    def run(self, until: int) -> None:
        """Send and receive until the given time, or until nothing is owed after `stop_sending`.

        Raises:
            Mismatch: A reply is not what was sent.
            Unasked: More came than was asked for.
            ConnectionLost: A connection ended.
        """

    @property
    @abstractmethod
    def messages(self) -> int:
        """Replies received whole, and equal to what was sent, since the beginning."""

    @property
    @abstractmethod
    def outstanding(self) -> int:
        """Replies that the server owes."""

    @abstractmethod
    def stop_sending(self) -> None:
        """From now on send no new message; what is owed may still come."""

    @abstractmethod
    def silent_since(self, before: int) -> int | None:
        """Number of a connection that is owed a reply and got no byte since `before`, if any."""

    @abstractmethod
    def close(self) -> None:
        """Say goodbye on every connection and close it."""


def hang_up(sockets: Iterable[Channel], goodbye: bytes) -> None:
    """Close sockets, with a last word that need not be heard."""
    for sock in sockets:
        with sock, suppress(OSError):  # a server that failed is not there to hear it
            sock.send(goodbye)
