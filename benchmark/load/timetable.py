"""What the open loop is asked to do and what it answers.

The times of all messages are in two files beside the plan, because there are too many for a line
of JSON: arrays of signed 64-bit numbers, nanoseconds after the start, one for each message, line
after line. ``due`` is written by whoever makes the plan. ``answers`` is written by the load process
and has two such arrays, one after the other: when each message was taken up, and when the last
byte of its reply was back, with `NEVER` where it was not.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen, validators

from benchmark.load.plan import known_transport, positive
from benchmark.load.stream import ECHO

NEVER = -1
MOST_IN_FLIGHT = 1 << 20  # bytes; beyond it a message waits in the timetable, its latency running


def _line(line: Any) -> Line:
    return line if isinstance(line, Line) else Line(**line)


def _lines(lines: Any) -> list[Line]:
    return [_line(line) for line in lines]


@frozen(kw_only=True)
class Line:
    """One connection and what it sends.

    Args:
        url: Where the server listens.
        messages: How many it sends.
        opening: What their payloads begin with.
        exception: The number of a message that begins otherwise, and with what; None for none.
        replies: What the payloads that come back begin with, where another line sends them: one
            with the same times due and the same `first`. None for its own.
        first: The frame of the ring that it begins with; None for its place in the timetable.
    """

    url: str = field(validator=known_transport)
    messages: int = field(validator=validators.ge(0))
    opening: str = ECHO
    exception: tuple[int, str] | None = None
    replies: str | None = None
    first: int | None = None


@frozen(kw_only=True)
class Timetable:
    """One run of the open loop.

    Args:
        lines: The connections; those of equal URL scheme only.
        due: The file of times due, which ascend within each line.
        answers: The file to write the answers to.
        size: Payload of each message, bytes.
        seconds: When to stop listening for replies that are owed still, after the start.
        certificate: PEM file of the authority to trust, where a URL asks for TLS.
        library: The compiled clients, or None for the one in Python.
        server_pid: Whose CPU time to measure beside our own, or None.
    """

    lines: list[Line] = field(converter=_lines, validator=validators.min_len(1))
    due: str
    answers: str
    size: int = field(default=128, validator=validators.ge(0))
    seconds: float = field(validator=positive)
    certificate: str | None = None
    library: str | None = None
    server_pid: int | None = None

    @lines.validator
    def _check_lines(self, _attribute: Attribute[Any], lines: list[Line]) -> None:
        if len({urlsplit(line.url).scheme for line in lines}) != 1:
            raise ValueError("all lines must have the same URL scheme")

    @property
    def transport(self) -> str:
        """The URLs' scheme."""
        return urlsplit(self.lines[0].url).scheme

    def read_due(self) -> list[array[int]]:
        """The times due of each line, nanoseconds after the start.

        Raises:
            ValueError: The file has another number of times than the lines have messages.
        """
        times = read_times(Path(self.due))
        if len(times) != sum(line.messages for line in self.lines):
            raise ValueError(f"{self.due} has {len(times)} times")
        return split(times, [line.messages for line in self.lines])


@frozen(kw_only=True)
class Attendance:
    """How a run of the open loop went, beside its answers.

    Args:
        client: Which client did it: ``c`` or ``python``.
        precedence: Whether it ran in real time, before all the servers.
        started: The start on `time.monotonic`'s clock, seconds.
        elapsed: Seconds from the start to the end.
        client_cpu: CPU time of the load process over `elapsed`.
        server_cpu: The same of the server's process, all its threads; None where unknown.
        other_cpu: The same of everything else on the machine, 1 for one CPU; None where unknown.
    """

    client: str
    precedence: bool
    started: float
    elapsed: float
    client_cpu: float
    server_cpu: float | None
    other_cpu: float | None


def read_times(path: Path) -> array[int]:
    """A file of times."""
    return array("q", path.read_bytes())


def split(times: array[int], counts: list[int]) -> list[array[int]]:
    """Times in a row, line by line."""
    pieces, begin = [], 0
    for count in counts:
        pieces.append(times[begin : begin + count])
        begin += count
    return pieces
