"""What the policy sees: workers as demands, nodes as groups of demands, all of it immutable."""

from __future__ import annotations

from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class Demand:
    """What one worker asks of its node, and what it costs the others there.

    Attributes:
        kind: The worker's class. What one of a kind has shown is assumed of the next.
        required_latency: The longest it may wait, once ready, seconds.
        hold: The longest it is expected to keep the node at a time, seconds.
        load: The share of the node's time it uses, 0 to 1.
        measured: Whether the costs come from measurement; otherwise they are assumed, and the
            room they take is reserved until the worker has run.
    """

    kind: str
    required_latency: float
    hold: float
    load: float
    measured: bool


@frozen(kw_only=True)
class Group:
    """Workers of one node that are alike: same kind, same declared latency, all measured or none.

    Attributes:
        kind, required_latency, measured: As in `Demand`.
        count: How many.
        hold: The longest hold expected of any of them, seconds.
        load: Their loads added up.
        rush: The sum of each one's load times hold, seconds: what the expected queue grows with.
    """

    kind: str
    required_latency: float
    measured: bool
    count: int
    hold: float
    load: float
    rush: float

    @classmethod
    def of(cls, demand: Demand) -> Group:
        return cls(
            kind=demand.kind,
            required_latency=demand.required_latency,
            measured=demand.measured,
            count=1,
            hold=demand.hold,
            load=demand.load,
            rush=demand.load * demand.hold,
        )


@frozen(kw_only=True)
class NodeView:
    """One node as the policy sees it.

    Attributes:
        name: The node's name.
        groups: Its workers.
        stuck: Whether it has been kept busy by one worker for longer than it has promised.
    """

    name: str
    groups: tuple[Group, ...] = ()
    stuck: bool = False

    @property
    def count(self) -> int:
        return sum(group.count for group in self.groups)

    @property
    def load(self) -> float:
        return sum(group.load for group in self.groups)


@frozen(kw_only=True)
class Snapshot:
    """The whole picture on which a decision is made.

    Attributes:
        nodes: The nodes there are.
        max_nodes: How many there may be.
        lock_delay: What a ready worker loses to the interpreter lock for each other node that
            computes, seconds: the interpreter's switch interval, or 0 where there is no such lock.
    """

    nodes: tuple[NodeView, ...]
    max_nodes: int
    lock_delay: float = 0.0


class Roster:
    """The demands on one node, kept as groups while workers come and go. Guarded by its owner.

    Adding and removing costs the same however many workers there are, except that removing the
    last member with a group's longest hold looks through that group once.

    Attributes:
        count: How many workers there are.
        latencies: The latencies declared here, strictest first. Replaced, never changed, so it may
            be read without the lock.
    """

    __slots__ = ("_groups", "_view", "count", "latencies")

    def __init__(self) -> None:
        self._groups: dict[tuple[str, float, bool], _Tally] = {}
        self._view: tuple[Group, ...] | None = None
        self.count = 0
        self.latencies: tuple[float, ...] = ()

    def add(self, key: object, demand: Demand) -> None:
        group = (demand.kind, demand.required_latency, demand.measured)
        tally = self._groups.get(group)
        if tally is None:
            tally = self._groups[group] = _Tally()
            self._list_latencies()
        tally.add(key, demand)
        self.count += 1
        self._view = None

    def remove(self, key: object, demand: Demand) -> None:
        group = (demand.kind, demand.required_latency, demand.measured)
        tally = self._groups[group]
        tally.remove(key, demand)
        if not tally.members:
            del self._groups[group]
            self._list_latencies()
        self.count -= 1
        self._view = None

    def groups(self) -> tuple[Group, ...]:
        if self._view is None:
            self._view = tuple(
                tally.group(kind, latency, measured)
                for (kind, latency, measured), tally in self._groups.items()
            )
        return self._view

    def members(self) -> list[Any]:
        return [key for tally in self._groups.values() for key in tally.members]

    def _list_latencies(self) -> None:
        self.latencies = tuple(sorted({latency for _, latency, _ in self._groups}))


class _Tally:
    """The sums behind one `Group`."""

    __slots__ = ("hold", "load", "longest", "members", "rush")

    def __init__(self) -> None:
        self.members: dict[object, Demand] = {}
        self.hold = self.load = self.rush = 0.0
        self.longest = 0  # members whose hold is the longest

    def add(self, key: object, demand: Demand) -> None:
        self.members[key] = demand
        if not self.longest or demand.hold > self.hold:
            self.hold, self.longest = demand.hold, 1
        elif demand.hold == self.hold:
            self.longest += 1
        self.load += demand.load
        self.rush += demand.load * demand.hold

    def remove(self, key: object, demand: Demand) -> None:
        del self.members[key]
        if demand.hold == self.hold:
            self.longest -= 1
            if not self.longest and self.members:
                holds = [other.hold for other in self.members.values()]
                self.hold = max(holds)
                self.longest = holds.count(self.hold)
        # Sums of floats drift; below zero they would turn into room that is not there.
        self.load = max(0.0, self.load - demand.load)
        self.rush = max(0.0, self.rush - demand.load * demand.hold)

    def group(self, kind: str, required_latency: float, measured: bool) -> Group:
        return Group(
            kind=kind,
            required_latency=required_latency,
            measured=measured,
            count=len(self.members),
            hold=self.hold,
            load=self.load,
            rush=self.rush,
        )
