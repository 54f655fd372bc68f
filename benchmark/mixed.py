"""The mixed scenario: strict and slow connections together on one server, in an open loop.

Every connection of both classes keeps a timetable, whatever comes back (`benchmark.load.paced`).
The strict ones want an echo; every message of the slow ones orders its handler to work. Each server
gets the same timetable, one server after the other (`benchmark.mixed_run`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from random import Random

from attrs import frozen

from benchmark.load.stream import ECHO
from benchmark.load.timetable import Line
from benchmark.timeline import SECOND

STRICT = 0.010  # seconds, what every server's first listener declares for its connections
SLOW = 1.0  # and its second
SETTLING = 2.0  # seconds for a server to find out who is slow where nobody says so
SPREAD = 0.1  # 10 % apart, two connections of 4 that work 20 ms have met in all ways in a second
WORK, GARBAGE = "!", "G"  # openings of `benchmark.peers.work`
DECLARE = f"L{STRICT:.3f} "


@frozen(kw_only=True)
class Mixed:
    """What to measure.

    Args:
        transport: The URL scheme of both listeners.
        strict: Connections to the first listener.
        strict_rate: Messages a second that each of them sends.
        slow: Connections whose every message orders work.
        work: What kind: ``compute``, ``sleep`` or ``both``.
        hold: How much for each message, seconds.
        slow_load: What all slow connections together ask for, as a share of the time of one
            handler after the other; from 1 on, one thread can never be done with it.
        alike: Whether the slow ones connect to the first listener like everybody.
        lower_after: When another connection to the second listener, which sends as a strict one
            does, declares `STRICT`, seconds after the start; None for no such connection.
        idle: Further connections to the first listener that say nothing.
        garbage: Whether strict messages have their handlers leave cyclic garbage.
        size: Payload of a message, bytes.
        seconds: Measured for each server.
        warmup: Seconds of load before.
        seed: Of the times due.
    """

    transport: str
    strict: int
    strict_rate: float
    slow: int
    work: str
    hold: float
    slow_load: float
    alike: bool
    lower_after: float | None
    idle: int
    garbage: bool
    size: int
    seconds: float
    warmup: float
    seed: int

    @property
    def length(self) -> float:
        """Seconds from the start to the last message due."""
        return self.warmup + self.seconds

    @property
    def listening(self) -> float:
        """Seconds from the start to the end: what is unanswered then has missed any promise."""
        return self.length + SLOW

    def traffic(self, urls: list[str]) -> list[Traffic]:
        """Who sends what and when to a server with these listeners."""
        random = Random(self.seed)
        first, second = urls[0], urls[-1]
        opening = GARBAGE if self.garbage else ECHO
        found = [
            Traffic(
                name="strict",
                line=Line(url=first, messages=0, opening=opening),
                due=self._evenly(self.strict, 1 / self.strict_rate),
            ),
            Traffic(
                name="slow",
                line=Line(url=first if self.alike else second, messages=0, opening=WORK),
                due=self._unevenly(self.slow, self._slow_interval, random),
            ),
        ]
        if self.lower_after is not None:
            due = self._evenly(1, 1 / self.strict_rate)
            number = sum(at < self.lower_after * SECOND for at in due[0])
            line = Line(url=second, messages=0, exception=(number, DECLARE))
            found.append(Traffic(name="lowering", line=line, due=due))
        return [traffic for traffic in found if traffic.due]

    def windows(self) -> Iterator[tuple[str, str, float, float, float]]:
        """The rows of a report: name, whose messages, declared, since when and until when."""
        end = self.length
        if self.alike:
            settled = max(self.warmup, SETTLING)
            yield f"strict to {settled:g} s", "strict", STRICT, 0.0, settled
            yield f"strict from {settled:g} s", "strict", STRICT, settled, end
        else:
            settled = self.warmup
            yield "strict", "strict", STRICT, settled, end
        yield "slow", "slow", self.declares("slow"), settled, end
        if self.lower_after is not None:
            lowered = self.lower_after
            yield "before lowering", "lowering", SLOW, self.warmup, lowered
            yield "1 s after", "lowering", STRICT, lowered, lowered + 1
            yield "then", "lowering", STRICT, lowered + 1, end

    def declarations(self, name: str) -> list[tuple[float, float, float]]:
        """What a kind of `Traffic` declares, since when and until when."""
        end = self.length
        if name == "lowering" and self.lower_after is not None:
            return [(SLOW, 0.0, self.lower_after), (STRICT, self.lower_after, end)]
        return [(SLOW if name == "slow" and not self.alike else STRICT, 0.0, end)]

    def declares(self, name: str) -> float:
        """What a kind of `Traffic` declares in the end."""
        return self.declarations(name)[-1][0]

    @property
    def _slow_interval(self) -> float:
        return self.slow * self.hold / self.slow_load

    def _evenly(self, connections: int, interval: float) -> list[array[int]]:
        """Each at a fixed rate, and all of them together too."""
        return [
            self._times(interval, interval * number / connections) for number in range(connections)
        ]

    def _unevenly(self, connections: int, interval: float, random: Random) -> list[array[int]]:
        """Each at a fixed rate of its own, so that in the course of a run they meet in every way.

        The rates are spread evenly over `SPREAD` to either side of the one asked for.
        """
        rates = [
            (1 + SPREAD * (2 * number / max(1, connections - 1) - 1) * (connections > 1)) / interval
            for number in range(connections)
        ]
        return [self._times(1 / rate, random.random() / rate) for rate in rates]

    def _times(self, interval: float, first: float) -> array[int]:
        count = max(0, round((self.length - first) / interval))
        return array("q", (round((first + interval * n) * SECOND) for n in range(count)))


@frozen(kw_only=True)
class Traffic:
    """Connections that send alike.

    Args:
        name: What reports call them.
        line: What each of them sends.
        due: When, for each connection.
    """

    name: str
    line: Line
    due: list[array[int]]
