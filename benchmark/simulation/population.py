"""Who the simulated workers are: classes by what they declare, and what their members cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from attrs import frozen


@frozen(kw_only=True)
class Kind:
    """Workers that are alike, to begin with.

    Args:
        name: The class they show to the Foreman; offenders show that of those they sit among.
        required_latency: What they declare, seconds.
        hold: How long one of them keeps its node each time it runs, typically, seconds.
        rate: How often it runs, per second.
        computing: The share of its holds spent computing, 0 to 1.
        share: How many of all workers are of this kind, 0 to 1.
    """

    name: str
    required_latency: float
    hold: float
    rate: float
    computing: float
    share: float

    @property
    def load(self) -> float:
        """The share of a node's time that one of them uses."""
        return self.hold * self.rate

    @property
    def outsized(self) -> bool:
        """Whether one of them holds its node longer than it would wait itself."""
        return self.hold > self.required_latency


# Most connections of a large server are quiet most of the time; the strict ones are not.
STRICT = Kind(
    name="strict", required_latency=0.010, hold=50e-6, rate=20.0, computing=1.0, share=0.0997
)
HEAVY = Kind(
    name="strict", required_latency=0.010, hold=0.004, rate=1.0, computing=1.0, share=0.0002
)
OUTSIZED = Kind(
    name="strict", required_latency=0.010, hold=0.020, rate=0.2, computing=0.5, share=0.0001
)
PROMPT = Kind(
    name="prompt", required_latency=0.100, hold=300e-6, rate=0.2, computing=1.0, share=0.6
)
LOOSE = Kind(name="loose", required_latency=1.0, hold=0.020, rate=0.01, computing=0.3, share=0.3)

KINDS = (STRICT, HEAVY, OUTSIZED, PROMPT, LOOSE)


def counts_of(workers: int, kinds: Sequence[Kind] = KINDS) -> dict[Kind, int]:
    """How many there are of each kind, of ten workers or more: at least one."""
    counts = {kind: max(1, round(kind.share * workers)) for kind in kinds}
    counts[kinds[-1]] = max(1, workers - sum(counts[kind] for kind in kinds[:-1]))
    return counts


def fewest_nodes(counts: dict[Kind, int], load: float, full: float, *, parallel: bool) -> int:
    """A number of nodes with fewer than which no policy could keep every promise.

    Those who hold their node longer than they would wait themselves each need one, where nodes run
    in parallel. For the others it is the larger of their load over `full`, and the number of kinds
    of which no two may meet because one holds its node longer than the other would wait.

    Args:
        counts: How many there are of each kind.
        load: What the others really used, of one node's time.
        full: The load up to which a node is filled, 0 to 1.
        parallel: Whether nodes compute at the same time.
    """
    others = [kind for kind in counts if not (kind.outsized and parallel)]
    apart: list[Kind] = []
    for kind in sorted(others, key=lambda kind: kind.required_latency):
        if all(_cannot_meet(kind, other) for other in apart):
            apart.append(kind)
    alone = sum(counts[kind] for kind in counts if kind not in others)
    return alone + max(ceil(load / full), len(apart))


def _cannot_meet(one: Kind, other: Kind) -> bool:
    return one.hold > other.required_latency or other.hold > one.required_latency
