"""What is measured: how long workers hold their node, how long nodes keep the ready waiting.

A meter is written by one thread, that of its node. Other threads may read the statistics at any
time and get a slightly old but consistent-enough picture: every field is a plain number.
"""

from __future__ import annotations

from collections import deque

from attrs import frozen

# A hold that lasts longer than this is examined when it ends: what of it was computing, and what
# was lost to others. That takes about 5 µs, system calls mostly.
LONG_HOLD = 1e-3

# Where the mean hold is longer than this, a reading is taken at the beginning of each hold, too. It
# takes about 3 µs, so both together stay below 1 % of the time held.
WORTH_SAMPLING = 500e-6

# Who ran so often in a window, and never for long lately, may go untimed so many times after each
# time it is timed. To time a hold costs 0.3 µs or more, a twentieth of a short echo's whole way
# through the server; and whoever runs that often keeps its node for less than 2 ms on average.
OFTEN = 256
SKIPS = 3

# Any hold is longer than this, seconds.
FIRST = -1.0

# A peak is forgotten by this factor in every full period, so that one slow run does not count for
# ever.
PEAK_DECAY = 0.95

# Less than this many seconds examined lately tell nothing about how the others are spent.
TELLING = 100e-6


@frozen(kw_only=True)
class HoldStatistics:
    """How long one worker kept its node, each time it ran.

    Attributes:
        count: Times it ran.
        mean: Mean hold, seconds; 0 before the first. Of connections that read more than 500 times
            a second, and never held their node for long, one hold in four is timed and stands for
            the others, until a promise is broken on their node. Of long holds, here and below,
            what the garbage collector and the operating system took does not count.
        worst: Longest hold ever, of those that were timed, seconds.
        cpu_share: How much of its recent long holds was spent computing, or waiting for its turn
            to under the interpreter lock, rather than for anything else, 0 to 1; None while its
            holds are too short to tell.
    """

    count: int
    mean: float
    worst: float
    cpu_share: float | None


@frozen(kw_only=True)
class WaitStatistics:
    """How long a ready worker was kept waiting.

    Attributes:
        count: Waits measured.
        mean: Mean wait, seconds; 0 before the first.
        worst: Longest wait, seconds.
        misses: Waits longer than the latency declared at that time, or than its step
            (`Worker.required_latency`).
    """

    count: int
    mean: float
    worst: float
    misses: int


@frozen(kw_only=True)
class ScanLatency:
    """How long a node keeps a ready worker waiting, over its most recent measurements.

    Attributes:
        last: The latest wait, seconds. While the node is stuck, how long it has been so far.
        mean: Mean of the recent waits, seconds.
        p99: 99th percentile of the recent waits, seconds.
        worst: Longest of the recent waits, seconds.
    """

    last: float
    mean: float
    p99: float
    worst: float


class HoldMeter:
    """Holds of one worker. Written on its node's thread only.

    ``runs``, ``held`` and ``longest`` count the window since the last `fold`; the node writes them
    itself, because a call for each message would cost more than the counting.

    Attributes:
        skips: 0 when every hold is timed. Otherwise so many may go untimed, and only be counted,
            after one that is timed. That is for those who ran very often in the last window, and
            never for long lately; it ends with the first long hold that is timed, or seen by the
            watcher to break a promise.
        passed_over: How many may still go untimed now; whoever leaves one out keeps count here.
        stands_for: How many holds one counts for that is timed where others are not.
        notable: A hold above this has to be looked at and not only counted, seconds: it is the
            longest of the window, or a long one, or, at less than nothing, the first.
        peak: The longest recent hold, seconds: what the policy reckons with.
        mean: The mean of recent holds, seconds.
        sampled: Whether readings are to be taken when a hold begins.
        aside: Whether the hold under way is not to count, if it is a short one.
    """

    __slots__ = (
        "_computed",
        "_examined",
        "aside",
        "held",
        "longest",
        "mean",
        "notable",
        "passed_over",
        "peak",
        "runs",
        "sampled",
        "skips",
        "stands_for",
        "total_held",
        "total_runs",
        "worst",
    )

    def __init__(self) -> None:
        self.runs = 0
        self.held = 0.0
        self.longest = 0.0
        self.notable = FIRST
        self.total_runs = 0
        self.total_held = 0.0
        self.worst = 0.0
        self.peak = 0.0
        self.mean = 0.0
        self.sampled = False
        self.aside = False
        self.time_each()
        self._computed = 0.0  # seconds spent computing within ...
        self._examined = 0.0  # ... so many seconds held, both fading

    def time_each(self) -> None:
        """Let no hold go untimed."""
        self.skips = self.passed_over = 0
        self.stands_for = 1.0

    def overlook(self) -> None:
        """The hold under way is upkeep, such as a heartbeat: it tells nothing of the work.

        Were it counted, one that never worked would be known as quick, and never be at rest. Where
        it has run in this window already it makes no difference, and is counted.
        """
        self.aside = not self.runs

    def examined(self, held: float, computed: float) -> None:
        """A hold was examined: so much of it was spent computing, seconds."""
        self._examined += held
        self._computed += computed

    def fold(self, weight: float = 1.0, *, closely: bool = False) -> float:
        """Close the window; returns the seconds held in it.

        Args:
            weight: How much of a full period it lasted, up to 1: what was before is forgotten
                accordingly.
            closely: Whether every hold is to be timed in the next one.
        """
        held = self.held
        kept = 0.5**weight
        if self.runs:
            mean = held / self.runs
            self.mean = mean + kept * (self.mean - mean) if self.total_runs else mean
            self.sampled = mean > WORTH_SAMPLING
        self.total_runs += self.runs
        self.total_held += held
        self.worst = max(self.worst, self.longest)
        self.peak = max(self.longest, self.peak * PEAK_DECAY**weight)
        self.time_each()
        if self.runs >= OFTEN and self.peak < LONG_HOLD and not closely:
            self.skips = SKIPS
            self.stands_for = SKIPS + 1.0
        if self._examined:  # otherwise each would be another zero, of 24 bytes
            self._computed *= kept
            self._examined *= kept
        self.runs = 0
        self.held = self.longest = 0.0
        self.notable = FIRST
        return held

    @property
    def computing(self) -> float | None:
        """The share of its recent long holds spent computing; None while they are too short."""
        examined = self._examined
        return min(1.0, self._computed / examined) if examined > TELLING else None

    def statistics(self) -> HoldStatistics:
        count = self.total_runs + self.runs
        return HoldStatistics(
            count=count,
            mean=(self.total_held + self.held) / count if count else 0.0,
            worst=max(self.worst, self.longest),
            cpu_share=self.computing,
        )


class WaitMeter:
    """Waits on a node, in total. Written on its node's thread only."""

    __slots__ = ("count", "misses", "total", "worst")

    def __init__(self) -> None:
        self.count = 0
        self.misses = 0
        self.total = 0.0
        self.worst = 0.0

    def add(self, wait: float, required_latency: float) -> None:
        """Count a wait, and whether it was longer than declared, both in seconds."""
        self.count += 1
        self.misses += wait > required_latency
        self.total += wait
        self.worst = max(self.worst, wait)

    def statistics(self) -> WaitStatistics:
        return WaitStatistics(
            count=self.count,
            mean=self.total / self.count if self.count else 0.0,
            worst=self.worst,
            misses=self.misses,
        )


class ScanMeter:
    """The most recent waits on a node, as a distribution. Written on its node's thread only."""

    __slots__ = ("_recent", "last")

    RECENT = 256  # enough for a 99th percentile, few enough to sort whenever one is asked for

    def __init__(self) -> None:
        self.last = 0.0
        self._recent: deque[float] = deque(maxlen=self.RECENT)

    def add(self, wait: float) -> None:
        self.last = wait
        self._recent.append(wait)

    def statistics(self, waiting: float) -> ScanLatency:
        """The distribution now.

        Args:
            waiting: How long a measurement under way has lasted, seconds, or 0; counted as a wait
                when it is longer than the last one already, so that a stuck node shows its state.
        """
        waits = sorted(self._recent.copy())  # a copy, because the node may append meanwhile
        last = self.last
        if waiting > last:
            waits.append(waiting)
            waits.sort()
            last = waiting
        if not waits:
            return ScanLatency(last=0.0, mean=0.0, p99=0.0, worst=0.0)
        return ScanLatency(
            last=last,
            mean=sum(waits) / len(waits),
            p99=waits[min(len(waits) - 1, len(waits) * 99 // 100)],
            worst=waits[-1],
        )
