"""Where workers run by default: best fit, relief at once, merging after a long calm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

from attrs import Attribute, evolve, field, frozen, validators

from foreman.decisions import Action, Place, Placement, Refuse, Spawn
from foreman.demand import Demand, Group, NodeView, Snapshot, Totals
from foreman.feasibility import MUCH_LOOSER, Conditions, find_obstacle, has_obstacle, would_mix
from foreman.merging import merge
from foreman.relief import Homeless, relieve


def _share(_rules: object, attribute: Attribute[float], value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{attribute.name} must be between 0 and 1, not {value!r}")


@lru_cache
def _part(share: float, latency: float) -> float:
    """So much of a latency: one number for all who declare it, since each of them keeps it."""
    return share * latency


def _in_turn(snapshot: Snapshot, newcomer: Group, mixed: bool) -> Iterator[NodeView]:
    """Who is offered a newcomer: the fullest first, and those last where somebody declares less.

    Who comes is work there. With one interpreter lock that is so too for nodes where somebody
    declares much more: a queue that is short as reckoned is several times as long while the other
    nodes want the lock, and the newcomer, on another node, would want it but once. Nor does what is
    measured of a listener say what it will do when thousands come.

    Args:
        mixed: With one interpreter lock, those only where somebody strict would be beside others
            who declare much more, those who do least first; instead of the others.
    """
    one_lock = snapshot.lock_delay > 0
    if mixed and not one_lock:
        return
    strict: list[NodeView] = []
    joining = Totals.of((newcomer,))
    nodes = snapshot.nodes
    for node in sorted(nodes, key=lambda node: node.load) if mixed else nodes:
        if (one_lock and would_mix(node.totals, joining)) is not mixed:
            continue
        if node.totals.strictest < newcomer.required_latency:
            strict.append(node)
        else:
            yield node
    yield from strict


def _as_known(node: NodeView, newcomer: Demand) -> list[Group]:
    """Who is on a node, and the newcomer, as far as their costs are measured."""
    if not newcomer.measured:
        newcomer = evolve(newcomer, hold=0.0, mean=0.0, load=0.0)
    return [*(group for group in node.groups if group.measured), Group.of(newcomer)]


@frozen(kw_only=True)
class BestFit:
    """The fullest node on which every declared latency can still be kept.

    Nodes where somebody declares less than the newcomer come last. With one interpreter lock, those
    where somebody strict would be beside others who declare much more are for when only one more
    node may be spawned, and strangers who declare much more than others do share a node until they
    are known.

    Up fast, down slowly: a broken promise is acted on at once, by moving those away who are to
    blame for it; nodes are merged only after a long calm, and with a margin.

    Args:
        assumed_hold: The hold assumed of a worker of a class that has not run yet, as a share of
            its own declared latency; so strict and loose workers start apart.
        assumed_load: The share of a node reserved for a worker until it has run, so that a burst
            of unknown workers spreads.
        full: The load up to which a node is filled, 0 to 1.
        period: For how long a node is left alone after it was acted on, seconds: what is measured
            must first be about what is there.
        patience: How long a node must have kept its promises before it is merged, seconds; twice
            as long after each relapse.
        most_patience: What `patience` is never doubled beyond, seconds.
        margin: The share of each declared latency that may be used up where nodes are merged.
        misses: How many broken promises without a measured cause are taken for a burst.
    """

    assumed_hold: float = field(default=0.25, validator=_share)
    assumed_load: float = field(default=1 / 128, validator=_share)
    full: float = field(default=0.8, validator=_share)
    period: float = field(default=0.5, validator=validators.gt(0))
    patience: float = field(default=10.0, validator=validators.gt(0))
    most_patience: float = field(default=600.0, validator=validators.gt(0))
    margin: float = field(default=0.5, validator=_share)
    misses: int = field(default=3, validator=validators.gt(0))

    def assume(self, kind: str, required_latency: float, shown: Demand | None) -> Demand:
        if shown is None:
            hold = mean = _part(self.assumed_hold, required_latency)
            return Demand(
                kind=kind,
                required_latency=required_latency,
                hold=hold,
                mean=mean,
                load=self.assumed_load,
                stranger=True,
            )
        # A newcomer may do more than the others at first, as everybody says hello then.
        return Demand(
            kind=kind,
            required_latency=required_latency,
            hold=shown.hold,
            mean=shown.mean,
            load=max(shown.load, self.assumed_load / 8),
            computing=shown.computing,
            movable=shown.movable,
        )

    # ---------------------------------------------------------------- placing

    def place(
        self, demand: Demand, snapshot: Snapshot, home: str | None = None, avoid: str | None = None
    ) -> Placement:
        newcomer = Group.of(demand)
        if home is not None and self._fits(newcomer, home, snapshot):
            return Place(home, "stays: every latency there can be kept")
        place = self._find(newcomer, snapshot, avoid, mixed=False)
        if place is not None:
            return place
        open_nodes = [node for node in snapshot.nodes if node.is_open and node.name != avoid]
        place = self._join_strangers(demand, open_nodes, snapshot)
        if place is not None:
            return place
        free = snapshot.max_nodes - len(snapshot.nodes)
        reason = self._why_not(newcomer, open_nodes, snapshot)
        if free > 1:
            return Spawn(reason)
        place = self._find(newcomer, snapshot, avoid, mixed=True)
        if place is not None:
            return place
        # The last node that may be spawned is for those who keep to what they declare.
        if free == 1 and not newcomer.outsized:
            return Spawn(reason)
        place = self._squeeze(demand, open_nodes, snapshot)
        if place is not None:
            return place
        return (
            Spawn(reason)
            if free
            else Refuse(f"all {len(snapshot.nodes)} nodes are taken; {reason}")
        )

    def _find(
        self, newcomer: Group, snapshot: Snapshot, avoid: str | None, mixed: bool
    ) -> Place | None:
        """The first node, of those where all declare alike or of the others, that can keep it."""
        # What more is asked of a node than it can do, others could, unless there is one lock.
        most = math.inf if snapshot.lock_delay else self.full - newcomer.load
        for node in _in_turn(snapshot, newcomer, mixed):
            totals = node.totals  # there may be hundreds: what is quick to see comes first
            if totals.load > most and totals.count:
                continue
            if has_obstacle(totals, newcomer, self.full):
                continue
            if not node.is_open or node.name == avoid:
                continue
            if find_obstacle((*node.groups, newcomer), self.conditions(node, snapshot)) is None:
                return Place(
                    node.name,
                    f"the fullest of the nodes that can keep it, {totals.count} here",
                )
        return None

    def _fits(self, newcomer: Group, name: str, snapshot: Snapshot) -> bool:
        """Whether it can be on that node."""
        return any(
            node.is_open
            and find_obstacle((*node.groups, newcomer), self.conditions(node, snapshot)) is None
            for node in snapshot.nodes
            if node.name == name
        )

    def _join_strangers(
        self, demand: Demand, open_nodes: Sequence[NodeView], snapshot: Snapshot
    ) -> Place | None:
        """Another node for what is only assumed would take the lock from those who are strict.

        So while strangers come that declare much more than somebody elsewhere does, they stay
        together, until the first of them have shown that they must not.
        """
        latency = demand.required_latency
        strictest = min((node.totals.strictest for node in snapshot.nodes), default=math.inf)
        if not (demand.stranger and snapshot.lock_delay and MUCH_LOOSER * strictest <= latency):
            return None
        for node in open_nodes:
            alike = (group.kind == demand.kind and not group.measured for group in node.groups)
            if not node.totals.longest <= latency <= node.totals.strictest or not any(alike):
                continue
            conditions = self.conditions(node, snapshot)
            if find_obstacle(_as_known(node, demand), conditions) is None:
                return Place(node.name, f"none of its class has run yet; {node.count} here")
        return None

    def _squeeze(
        self, demand: Demand, open_nodes: Sequence[NodeView], snapshot: Snapshot
    ) -> Place | None:
        """At the cap nobody is refused for what is only assumed, or for who breaks the deal."""
        for node in sorted(open_nodes, key=lambda node: (node.load, node.count)):
            conditions = evolve(self.conditions(node, snapshot), excused=True)
            if find_obstacle(_as_known(node, demand), conditions) is None:
                return Place(
                    node.name,
                    f"no more nodes may be spawned; {node.count} here, the least reserved "
                    f"({node.load:.0%})",
                )
        return None

    def _why_not(self, newcomer: Group, open_nodes: Sequence[NodeView], snapshot: Snapshot) -> str:
        """What stands against the emptiest of the nodes."""
        if open_nodes:
            node = min(open_nodes, key=lambda node: (node.load, node.count))
            conditions = self.conditions(node, snapshot)
            obstacle = find_obstacle((*node.groups, newcomer), conditions)
            if obstacle is None:
                return f"on {node.name}, the strict and those who declare much more would mix"
            return f"on {node.name}, {obstacle}"
        stuck = [node.name for node in snapshot.nodes if node.stuck]
        if stuck:
            return f"{stuck[0]} is stuck"
        return "there is no other node" if snapshot.nodes else "there is no node yet"

    def has_room(self, groups: Sequence[Group], snapshot: Snapshot, avoid: str) -> bool:
        """Whether one node other than ``avoid`` can take all of these, or one may be spawned."""
        return len(snapshot.nodes) < snapshot.max_nodes or any(
            find_obstacle((*node.groups, *groups), self.conditions(node, snapshot)) is None
            for node in snapshot.nodes
            if node.is_open and node.name != avoid
        )

    def conditions(self, node: NodeView, snapshot: Snapshot) -> Conditions:
        """Under what the workers of a node are served."""
        lock_wait = 0.0
        if snapshot.lock_delay:
            lock_wait = snapshot.lock_delay * (snapshot.computing - node.totals.computing)
        return Conditions(
            full=self.full,
            lock_wait=lock_wait,
            bursty=node.bursty,
            one_lock=snapshot.lock_delay > 0,
        )

    # ---------------------------------------------------------------- reviewing

    def review(self, snapshot: Snapshot) -> Sequence[Action]:
        actions: list[Action] = []
        homeless = Homeless()
        for node in snapshot.nodes:
            if node.stuck:
                actions += self.replace(node, snapshot)
            elif node.settled >= self.period and not node.retiring:
                actions += relieve(node, snapshot, self, homeless)
        return actions or merge(snapshot, self)

    def replace(self, node: NodeView, snapshot: Snapshot) -> list[Action]:
        """A stuck node takes nobody: have another ready for those who would have come."""
        if not node.groups:
            return []
        groups = sorted(node.groups, key=lambda group: (group.required_latency, group.hold))
        placement = self.place(groups[0].typical, snapshot, avoid=node.name)
        if not isinstance(placement, Spawn):
            return []
        return [Spawn(f"{node.name} is stuck and takes nobody; {placement.reason}")]
