"""How nodes become fewer again: slowly, one at a time, with a margin, so that nothing swings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from foreman.decisions import Action, Retire
from foreman.demand import Group, NodeView, Snapshot
from foreman.feasibility import Conditions, find_obstacle

if TYPE_CHECKING:
    from foreman.policy import BestFit


def merge(snapshot: Snapshot, rules: BestFit) -> list[Action]:
    """Retire one node whose workers fit on the others, after a long calm."""
    if len(snapshot.nodes) < 2:
        return []
    patience = min(rules.most_patience, rules.patience * 2**snapshot.relapses)
    calm = [
        node
        for node in snapshot.nodes
        if not node.stuck and node.calm >= patience and node.settled >= rules.period
    ]
    for node in sorted(calm, key=lambda node: (node.load, node.count)):
        if _replaces(node, snapshot, rules):
            continue
        if not node.groups:
            return [Retire(node.name, f"nobody was there for {patience:g} s")]
        others = [other for other in calm if other is not node]
        hosts = _find_hosts(node, others, snapshot, rules)
        if hosts:
            return [
                Retire(
                    node.name,
                    f"after {patience:g} s of calm, what {node.count} workers there need can be "
                    f"kept on {' and '.join(hosts)} as well",
                )
            ]
    return []


def _replaces(node: NodeView, snapshot: Snapshot, rules: BestFit) -> bool:
    """Whether another would be spawned as soon as it has gone, because one is stuck."""
    rest = evolve(snapshot, nodes=tuple([other for other in snapshot.nodes if other is not node]))
    return any(rules.replace(other, rest) for other in rest.nodes if other.stuck)


def _find_hosts(
    node: NodeView, others: Sequence[NodeView], snapshot: Snapshot, rules: BestFit
) -> list[str]:
    """The nodes that can take all of a node's workers between them; none if they cannot."""
    if not all(group.movable for group in node.groups):
        return []
    hosts: dict[str, None] = {}
    groups = {other.name: list(other.groups) for other in others}
    by_load = sorted(others, key=lambda other: (other.load, other.count), reverse=True)
    # Those who run now and then are quiet now, perhaps.
    by_load = [other for other in by_load if other.busiest + node.busiest <= rules.full]
    for group in sorted(node.groups, key=lambda group: group.hold, reverse=True):
        homeless = group.count
        for other in by_load:
            conditions = evolve(
                rules.conditions(other, snapshot),
                margin=rules.margin,
                full=rules.full**2,
                bursty=other.bursty or node.bursty,
            )
            taken = _how_many(groups[other.name], group.of_count(homeless), conditions)
            if taken:
                groups[other.name].append(group.of_count(taken))
                hosts[other.name] = None
                homeless -= taken
                if not homeless:
                    break
        if homeless:
            return []
    return list(hosts)


def _how_many(groups: Sequence[Group], newcomers: Group, conditions: Conditions) -> int:
    """How many of the newcomers can join the groups, found by halving."""
    count = newcomers.count
    while count and find_obstacle((*groups, newcomers.of_count(count)), conditions):
        count //= 2
    return count
