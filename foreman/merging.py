"""How nodes become fewer again: slowly, few at a time, with a margin, so that nothing swings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from foreman.decisions import Action, Retire
from foreman.demand import Group, NodeView, Snapshot
from foreman.feasibility import Conditions, find_obstacle, would_mix

if TYPE_CHECKING:
    from foreman.policy import BestFit


def merge(snapshot: Snapshot, rules: BestFit) -> list[Action]:
    """Retire nodes whose workers fit on the others, after a long calm: one of sixteen at a time."""
    nodes = snapshot.nodes
    at_once = max(1, len(nodes) // 16) - sum(node.retiring for node in nodes)
    if len(nodes) < 2 or at_once < 1:
        return []
    # Among many there is always one that does it again.
    relapses = snapshot.relapses // -(-len(nodes) // 16)
    patience = min(rules.most_patience, rules.patience * 2**relapses)
    calm = [
        node
        for node in nodes
        if node.is_open and node.calm >= patience and node.settled >= rules.period
    ]
    fullest = sorted(calm, key=lambda node: (node.load, node.count), reverse=True)
    calm.sort(key=lambda node: (node.load, node.count))
    actions: list[Action] = []
    there = {node.name: list(node.groups) for node in calm}
    leaving: set[str] = set()
    hosting: set[str] = set()
    for node in calm:
        if node.name in hosting or _replaces(node, snapshot, rules):
            continue
        if node.groups:
            others = [other for other in fullest if other.name not in {node.name, *leaving}]
            hosts = _find_hosts(node, others, there, snapshot, rules)
            if not hosts:
                continue
            hosting.update(hosts)
            reason = (
                f"after {patience:g} s of calm, what {node.count} workers there need can be kept "
                f"on {' and '.join(hosts)} as well"
            )
        else:
            reason = f"nobody was there for {patience:g} s"
        leaving.add(node.name)
        actions.append(Retire(node.name, reason))
        if len(actions) == at_once:
            break
    return actions


def _replaces(node: NodeView, snapshot: Snapshot, rules: BestFit) -> bool:
    """Whether another would be spawned as soon as it has gone, because one is stuck."""
    if not any(other.stuck for other in snapshot.nodes):
        return False
    rest = evolve(snapshot, nodes=tuple([other for other in snapshot.nodes if other is not node]))
    return any(rules.replace(other, rest) for other in rest.nodes if other.stuck)


def _find_hosts(
    node: NodeView,
    others: Sequence[NodeView],
    there: dict[str, list[Group]],
    snapshot: Snapshot,
    rules: BestFit,
) -> list[str]:
    """The nodes that can take all of a node's workers between them; none if they cannot.

    Args:
        others: Which may be asked, the fullest first.
        there: The groups that count on each of them; those who find a place are added.
    """
    if not all(group.movable for group in node.groups):
        return []
    # Those who run now and then are quiet now, perhaps. And a node that is filled by a merge must
    # have room left for those who come: it is filled to `full` of what it may be filled to.
    others = [other for other in others if other.busiest + node.busiest <= rules.full]
    if snapshot.lock_delay:  # then they are well apart: see `foreman.policy`
        others = [other for other in others if not would_mix(node.totals, other.totals)]
    found: dict[str, list[Group]] = {}
    for group in sorted(node.groups, key=lambda group: group.hold, reverse=True):
        homeless = group.count
        for other in others:
            conditions = evolve(
                rules.conditions(other, snapshot),
                margin=rules.margin,
                full=rules.full**2,
                bursty=other.bursty or node.bursty,
            )
            with_them = [*there[other.name], *found.get(other.name, ())]
            taken = _how_many(with_them, group.of_count(homeless), conditions)
            if taken:
                found.setdefault(other.name, []).append(group.of_count(taken))
                homeless -= taken
                if not homeless:
                    break
        if homeless:
            return []
    for name, groups in found.items():
        there[name] += groups
    return list(found)


def _how_many(groups: Sequence[Group], newcomers: Group, conditions: Conditions) -> int:
    """How many of the newcomers can join the groups, found by halving."""
    count = newcomers.count
    while count and find_obstacle((*groups, newcomers.of_count(count)), conditions):
        count //= 2
    return count
