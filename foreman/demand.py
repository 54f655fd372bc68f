"""What the policy sees: workers as demands, nodes as groups of demands, all of it immutable."""

from __future__ import annotations

import math
from functools import cached_property

from attrs import Factory, field, frozen


@frozen(kw_only=True, weakref_slot=False)  # each worker has one
class Demand:
    """What one worker asks of its node, and what it costs the others there.

    Attributes:
        kind: The worker's class. What one of a kind has shown is assumed of the next.
        required_latency: The longest it may wait, once ready, seconds.
        hold: The longest it is expected to keep the node at a time, seconds.
        mean: How long it keeps the node on average, seconds; at most `hold`.
        load: The share of the node's time it uses, 0 to 1.
        computing: The share of its holds spent computing rather than waiting, 0 to 1.
        measured: Whether the costs come from measurement; otherwise they are assumed, and the
            room they take is reserved until the worker has run.
        movable: Whether it can leave the node it is on.
        stranger: Whether none of its class has shown anything, nor says of itself that it takes
            longer than is assumed, so that its costs are a guess.
    """

    kind: str
    required_latency: float
    hold: float
    mean: float
    load: float
    computing: float = 1.0
    measured: bool = False
    movable: bool = True
    stranger: bool = False

    @property
    def computes(self) -> bool:
        """Whether most of the time it takes goes into computing."""
        return self.computing >= 0.5


@frozen(kw_only=True)
class Group:
    """Workers of one node that are alike in all that a decision looks at.

    They are of the same kind, declare the same latency, keep the node for times of the same
    magnitude, and for longer than they would wait themselves or not, compute or wait, are measured
    or not, can be moved or cannot. So an offender is never in one group with those it harms, though
    it be of the same kind.

    Attributes:
        kind, required_latency, measured, movable: As in `Demand`.
        computes: Whether most of the time they take goes into computing.
        count: How many.
        hold: The longest hold expected of any of them, seconds.
        round: Their mean holds added up, seconds: what it takes to serve each of them once.
        load: Their loads added up.
        rush: The sum of each one's load times mean hold, seconds: what a queue grows with.
        computing: The part of `load` that is computing.
    """

    kind: str
    required_latency: float
    measured: bool
    movable: bool
    computes: bool
    count: int
    hold: float
    round: float
    load: float
    rush: float
    computing: float

    @classmethod
    def of(cls, demand: Demand, count: int = 1) -> Group:
        """So many workers with the same demand."""
        return cls(
            kind=demand.kind,
            required_latency=demand.required_latency,
            measured=demand.measured,
            movable=demand.movable,
            computes=demand.computes,
            count=count,
            hold=demand.hold,
            round=count * demand.mean,
            load=count * demand.load,
            rush=count * demand.load * demand.mean,
            computing=count * demand.load * demand.computing,
        )

    def of_count(self, count: int) -> Group:
        """So many of them, each as the average one, with the longest hold still among them."""
        share = count / self.count
        return Group(
            kind=self.kind,
            required_latency=self.required_latency,
            measured=self.measured,
            movable=self.movable,
            computes=self.computes,
            count=count,
            hold=self.hold,
            round=share * self.round,
            load=share * self.load,
            rush=share * self.rush,
            computing=share * self.computing,
        )

    @property
    def typical(self) -> Demand:
        """The average member, with the longest hold."""
        return Demand(
            kind=self.kind,
            required_latency=self.required_latency,
            hold=self.hold,
            mean=self.round / self.count,
            load=self.load / self.count,
            computing=min(1.0, self.computing / self.load) if self.load else float(self.computes),
            measured=self.measured,
            movable=self.movable,
        )

    @property
    def outsized(self) -> bool:
        """Whether one of them was measured to hold its node longer than it would wait itself.

        It could not share a node even with another of its own.
        """
        return self.measured and self.hold > self.required_latency


@frozen(kw_only=True)
class Totals:
    """What the workers of a node come to: looked at for node after node, and so made only once.

    Attributes:
        count: How many there are.
        load: Their loads added up.
        computing: The share of its time in which the node computes, 0 to 1.
        rush: As of a `Group`.
        round: What it takes to serve each of them once, seconds.
        others: The least that this is for anybody there without its own part, seconds.
        longest: The longest hold of anybody there, seconds.
        second: The longest hold of anybody but that one, seconds.
        strictest: The strictest latency promised to any that would itself keep it, seconds.
        loosest: The longest that anybody there may wait, seconds; 0 where nobody is.
    """

    count: int
    load: float
    computing: float
    rush: float
    round: float
    others: float
    longest: float
    second: float
    strictest: float
    loosest: float

    @classmethod
    def of(cls, groups: tuple[Group, ...]) -> Totals:
        """Add them up."""
        count = 0
        load = computing = longest = second = together = rush = slowest = loosest = 0.0
        strictest = math.inf
        for group in groups:
            count += group.count
            load += group.load
            computing += group.computing
            together += group.round
            rush += group.rush
            slowest = max(slowest, group.round / group.count)
            loosest = max(loosest, group.required_latency)
            if group.hold > longest:
                second = group.hold if group.count > 1 else longest
                longest = group.hold
            elif group.hold > second:
                second = group.hold
            if group.required_latency < strictest and not group.outsized:
                strictest = group.required_latency
        return cls(
            count=count,
            load=load,
            computing=min(1.0, computing),
            rush=rush,
            round=together,
            others=max(0.0, together - slowest),
            longest=longest,
            second=second,
            strictest=strictest,
            loosest=loosest,
        )


def _add_up(node: NodeView) -> Totals:
    return Totals.of(node.groups)


@frozen(kw_only=True)
class NodeView:
    """One node as the policy sees it.

    Attributes:
        name: The node's name.
        groups: Its workers.
        stuck: Whether one worker keeps it busy for longer than it has promised, right now.
        retiring: Whether it is being emptied, so that nobody new may come.
        late: How many promises it broke in a row since it was last acted on, counted once a look.
        bursty: Whether its workers have shown to become ready at the same time, so that the queue
            must be taken at its longest.
        busiest: The highest load that was measured lately.
        calm: Seconds since it last broke several promises in a row, had to be relieved, or was
            spawned.
        settled: Seconds since it was last acted on: since what was measured is about what is there.
        totals: What the groups add up to.
    """

    name: str
    groups: tuple[Group, ...] = ()
    stuck: bool = False
    retiring: bool = False
    late: int = 0
    bursty: bool = False
    busiest: float = 0.0
    calm: float = 0.0
    settled: float = 0.0
    totals: Totals = field(default=Factory(_add_up, takes_self=True), repr=False, eq=False)

    @property
    def is_open(self) -> bool:
        """Whether anybody may come."""
        return not self.stuck and not self.retiring

    @property
    def count(self) -> int:
        """How many workers there are."""
        return self.totals.count

    @property
    def load(self) -> float:
        """Their loads added up."""
        return self.totals.load


@frozen(kw_only=True)
class Snapshot:
    """The whole picture on which a decision is made.

    Attributes:
        nodes: The nodes there are, the fullest first: by load, then by count.
        max_nodes: How many there may be.
        lock_delay: What a ready worker loses to the interpreter lock for each other node that
            computes, seconds: the interpreter's switch interval, or 0 where there is no such lock.
        relapses: How often lately a worker that had been moved away for what it did had to be
            moved away again, because nodes were merged too early.
    """

    nodes: tuple[NodeView, ...]
    max_nodes: int
    lock_delay: float = 0.0
    relapses: int = 0

    @cached_property
    def computing(self) -> float:
        """How many nodes' worth of computing there is."""
        return sum(node.totals.computing for node in self.nodes)
