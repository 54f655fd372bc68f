"""One simulated node: what the workers that run there really wait."""

from __future__ import annotations

from math import inf

from attrs import define, field

from benchmark.simulation.worker import SimWorker
from foreman.roster import Roster

QUEUED_UP = 0.95  # the load from which a queue is reckoned by its backlog alone


@define(eq=False)
class Promises:
    """How often workers became ready, and how often one of them waited too long.

    Attributes:
        runs: How often those did that keep to what they declare themselves.
        late: In how many of these, by expectation, they waited longer than declared.
        outsized: Runs of those who hold their node longer than they would wait themselves.
        late_outsized: The same of these.
        held: For how long the former held their nodes, seconds.
    """

    runs: int = 0
    late: float = 0.0
    outsized: int = 0
    late_outsized: float = 0.0
    held: float = 0.0

    @property
    def kept(self) -> float:
        """The share of the former's runs that were served in time."""
        return 1 - self.late / self.runs if self.runs else 1.0


@define(eq=False)
class SimNode:
    """One node.

    Attributes:
        name, roster: What the ledger has to know.
        active: The workers that ran in this window.
        watched: Those that its meters look at although they did not.
        backlog: Work that is left over from the windows before, seconds.
        rests: When the ledger is told that nobody runs here, by the simulated clock.
    """

    name: str
    roster: Roster = field(factory=Roster)
    active: list[SimWorker] = field(factory=list)
    watched: list[SimWorker] = field(factory=list)
    backlog: float = 0.0
    rests: float = inf

    @property
    def computed(self) -> float:
        """CPU time used in this window, seconds."""
        return sum(worker.held * worker.kind.computing for worker in self.active)

    def serve(self, period: float, lock_wait: float, promises: Promises) -> bool:
        """Let a window pass, and count who waited too long; returns whether a promise broke.

        Each worker's longest hold stands for all of its holds that are longer than others would
        wait. Somebody who becomes ready at any moment of the window waits for the rest of such a
        hold, and for the mean queue of a single server (Pollaczek and Khinchine), for what was left
        over from before, and for the interpreter lock.
        """
        longest = held = squares = 0.0
        strictest = inf
        for worker in self.active:
            held += worker.held
            squares += worker.held * worker.held / worker.ran
            longest = max(longest, worker.longest)
            strictest = min(strictest, worker.kind.required_latency)
        load = held / period
        queue = self.backlog + lock_wait
        if load < QUEUED_UP:
            queue += squares / period / (2 * (1 - load))
        self.backlog = max(0.0, self.backlog + held - period)
        missed = longest + queue > strictest
        exposures: dict[float, float] = {}  # for how much of the window the ready wait too long
        for worker in self.active:
            latency = worker.kind.required_latency
            own = exposure = 0.0
            if missed:
                if latency not in exposures:
                    waits = (other.longest + queue - latency for other in self.active)
                    exposures[latency] = sum(wait for wait in waits if wait > 0)
                own = max(0.0, worker.longest + queue - latency)
                exposure = max(0.0, exposures[latency] - own) / period
            late = worker.ran if queue > latency else worker.ran * min(1.0, exposure)
            if worker.longest > latency:
                promises.outsized += worker.ran
                promises.late_outsized += late
            else:
                promises.runs += worker.ran
                promises.late += late
                promises.held += worker.held
        return missed
