"""One simulated worker: what it really costs now, and what the meters make of it."""

from __future__ import annotations

from math import exp, log, sqrt
from random import Random

from attrs import define

from benchmark.simulation.population import Kind
from foreman.accounts import AT_REST
from foreman.meters import PEAK_DECAY
from foreman.seat import Seat

# What costs do: hold and rate each wander by a factor of e**WANDER in a minute, and are drawn back
# to what is typical of the kind in about as long. Now and then a worker bursts.
WANDER = 0.5
MINUTE = 60.0
BURSTS_PER_HOUR = 6.0
BURST_FACTOR = 4.0  # of hold, and of rate
BURST_LENGTH = 5.0  # seconds

# The longest hold of a window, as a multiple of the mean: one drawn at random, within this.
LONGEST = 4.0


@define(eq=False)
class SimWorker:
    """One worker. Times are seconds of the simulated clock.

    Attributes:
        kind: What it was like to begin with.
        seat: Where the ledger has put it.
        hold: Its mean hold now, seconds.
        rate: How often it runs a second.
        seen: When its costs were last brought up to date.
        bursts_until: When its burst ends.
        longest: Its longest hold in this window.
        runs, peak, mean, load: What its meter says, as `foreman.meters.HoldMeter` would.
        held, ran: For how long and how often it held its node in this window.
    """

    kind: Kind
    hold: float
    rate: float
    seen: float
    seat: Seat | None = None
    bursts_until: float = 0.0
    longest: float = 0.0
    held: float = 0.0
    ran: int = 0
    runs: int = 0
    peak: float = 0.0
    mean: float = 0.0
    load: float = 0.0

    @classmethod
    def born(cls, kind: Kind, slowness: float, now: float, random: Random) -> SimWorker:
        """A new one, somewhat unlike the others of its kind.

        Args:
            slowness: What all rates are divided by.
        """
        return cls(
            kind=kind,
            hold=kind.hold * exp(random.gauss(0.0, WANDER)),
            rate=kind.rate / slowness * exp(random.gauss(0.0, WANDER)),
            seen=now,
        )

    def drift(self, now: float, slowness: float, random: Random) -> None:
        """Bring its costs up to date."""
        part = min(1.0, (now - self.seen) / MINUTE)
        self.seen = now
        kind = self.kind
        step = WANDER * sqrt(2 * part)
        self.hold *= exp(random.gauss(0.0, step) - part * log(self.hold / kind.hold))
        self.rate *= exp(random.gauss(0.0, step) - part * log(self.rate * slowness / kind.rate))
        if random.random() < part * BURSTS_PER_HOUR / 60:
            self.bursts_until = now + BURST_LENGTH

    def run(self, now: float, period: float, crowd: float, random: Random) -> float:
        """Run as often as it is due in this window, at least once; returns the next time it is due.

        Args:
            now: When the window begins.
            period: The window's length.
            crowd: What the rate of all its class is multiplied by.
        """
        factor = BURST_FACTOR if now < self.bursts_until else 1.0
        rate = self.rate * factor * crowd
        mean = self.hold * factor
        due = rate * period
        runs = 1 if due < 1 else max(1, round(random.gauss(due, sqrt(due))))
        self.ran = runs
        self.longest = mean * min(LONGEST, 1.0 + random.expovariate(2.0) + log(runs) / 2)
        self.held = mean * (runs - 1) * random.uniform(0.9, 1.1) + self.longest
        return now + (period if due >= 1 else random.expovariate(rate))

    def meter(self, period: float) -> bool:
        """Add the window up as its node's meters would; whether to look at it again next time."""
        if self.ran:
            mean = self.held / self.ran
            self.mean = (self.mean + mean) / 2 if self.runs else mean
        self.runs += self.ran
        self.peak = max(self.longest, self.peak * PEAK_DECAY)
        load = min(1.0, self.held / period)
        load = self.load + (load - self.load) * (1.0 if load > self.load else 0.5)
        self.load = load if load > AT_REST else 0.0
        self.ran = 0
        self.longest = self.held = 0.0
        return self.load > 0.0
