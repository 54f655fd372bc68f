"""What a class of connections was promised and got, message by message. No clock, no I/O.

Times are nanoseconds after the start of the load. A latency runs from when the message was due,
whatever was sent when, to when the last byte of its reply was back; of a message that was never
answered, to the end of the listening, so that it counts with its age.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from math import ceil

from attrs import field, frozen

from benchmark.load.timetable import NEVER

BIN = 250_000_000  # nanoseconds
KEPT = 0.99  # the share of messages within the declared latency from which it counts as kept
SECOND = 1_000_000_000


@frozen(kw_only=True)
class Message:
    """One message: when it was due, how late the load client took it up, its latency."""

    due: int
    late: int
    latency: int
    answered: bool


@frozen(kw_only=True)
class Figures:
    """What some messages of one class came to.

    Args:
        declared: The latency that was promised, seconds.
        latencies: Of all messages, ascending, nanoseconds.
        unanswered: How many of them are ages.
    """

    declared: float
    latencies: Sequence[int] = field(repr=False)
    unanswered: int

    @classmethod
    def of(cls, messages: Sequence[Message], declared: float) -> Figures:
        """The figures of these messages."""
        return cls(
            declared=declared,
            latencies=sorted(message.latency for message in messages),
            unanswered=sum(not message.answered for message in messages),
        )

    @property
    def count(self) -> int:
        """Messages that were due."""
        return len(self.latencies)

    @property
    def missed(self) -> int:
        """Messages that took longer than declared."""
        return sum(latency > self.declared * SECOND for latency in self.latencies)

    @property
    def kept(self) -> bool:
        """Whether `KEPT` of all messages took no longer than declared."""
        return self.missed <= (1 - KEPT) * self.count

    def percentile(self, percent: float) -> float:
        """The latency that `percent` of all did not exceed (nearest rank), seconds; 0 of none."""
        if not self.latencies:
            return 0.0
        rank = max(1, ceil(round(percent / 100 * self.count, 6)))
        return self.latencies[rank - 1] / SECOND

    @property
    def maximum(self) -> float:
        """The longest latency, seconds; 0 of none."""
        return self.percentile(100)

    def described(self) -> dict[str, object]:
        """For the results file."""
        return {
            "declared_seconds": self.declared,
            "messages": self.count,
            "missed": self.missed,
            "unanswered": self.unanswered,
            "kept": self.kept,
            "p50_seconds": self.percentile(50),
            "p99_seconds": self.percentile(99),
            "p99.9_seconds": self.percentile(99.9),
            "max_seconds": self.maximum,
        }


class Timeline:
    """The messages of one class over a run.

    Args:
        due: When each message was due.
        taken: When the load client took it up, or `NEVER`.
        heard: When its last byte was back, or `NEVER`.
        end: When the listening ended.
    """

    def __init__(
        self, due: Sequence[int], taken: Sequence[int], heard: Sequence[int], end: int
    ) -> None:
        self.messages = [
            Message(
                due=at,
                late=(end if sent == NEVER else sent) - at,
                latency=(end if back == NEVER else back) - at,
                answered=back != NEVER,
            )
            for at, sent, back in sorted(zip(due, taken, heard, strict=True))
        ]

    def within(self, since: float, until: float = float("inf")) -> list[Message]:
        """The messages due from then, inclusive, to then, exclusive; seconds."""
        return [m for m in self.messages if since * SECOND <= m.due < until * SECOND]

    def bins(self, declared: float) -> Iterator[tuple[float, Figures]]:
        """The figures of each `BIN` that has messages, with its middle in seconds."""
        messages: list[Message] = []
        number = 0
        for message in [*self.messages, None]:
            if message is None or message.due // BIN != number:
                if messages:
                    yield (number + 0.5) * BIN / SECOND, Figures.of(messages, declared)
                if message is None:
                    return
                messages, number = [], message.due // BIN
            messages.append(message)


def lateness(timelines: Sequence[Timeline]) -> Figures:
    """How late the load client itself was: from when a message was due to when it took it up.

    Where this comes near a latency, the latency is the client's and not the server's.
    """
    late = sorted(message.late for timeline in timelines for message in timeline.messages)
    return Figures(declared=0.0, latencies=array("q", late), unanswered=0)
