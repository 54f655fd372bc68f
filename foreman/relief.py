"""What is done when the workers of a node cannot all be kept what they were promised.

Blame the cause: moving the offenders out usually beats moving all their victims.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import frexp
from typing import TYPE_CHECKING

from attrs import evolve

from foreman.decisions import Action, Refuse, Relocate
from foreman.demand import Group, NodeView, Snapshot
from foreman.feasibility import Conditions, Obstacle, find_obstacle

if TYPE_CHECKING:
    from foreman.policy import BestFit


# How much more than they declared the workers of a node might wait, by what was measured of the
# others, before any of them is moved although no promise has been broken yet.
TOLERANCE = 1.25

# Who takes no more than this share of a node's time is not what others wait for again and again.
HARDLY_ANY = 1 / 16


class Homeless:
    """For whom no place was found in one review, so that none is looked for again and again."""

    def __init__(self) -> None:
        self._known: set[tuple[object, ...]] = set()

    def everywhere(self, group: Group, node: NodeView, snapshot: Snapshot, rules: BestFit) -> bool:
        """Whether nowhere else is room for one of this group, or for one much like it."""
        size = frexp(group.hold)[1], frexp(group.load / group.count)[1]
        alike = (group.kind, group.required_latency, group.measured, group.computes, *size)
        if alike not in self._known:
            if not isinstance(rules.place(group.typical, snapshot, avoid=node.name), Refuse):
                return False
            self._known.add(alike)
        return True


def relieve(node: NodeView, snapshot: Snapshot, rules: BestFit, homeless: Homeless) -> list[Action]:
    """Move some of a node's workers away, if measurements show that it cannot keep its promises.

    That a promise was broken is not enough: it may have been the garbage collector, or another
    process, and then nobody here is to blame. But when it is broken again and again, its workers
    are taken to become ready together; and where not even that would explain it, with one
    interpreter lock, the strictest leave those who take more of the node's time.
    """
    # When nodes become scarce, those who break the deal share what there is.
    scarce = snapshot.max_nodes - len(snapshot.nodes) <= 1
    # A node that is filled to the brim, and has a busy moment, is not overloaded yet; nor are its
    # workers moved about for what is merely reckoned, and only just more than they declared.
    overloaded = (1.0 + rules.full) / 2
    margin = 1.0 if node.late else TOLERANCE
    conditions = evolve(
        rules.conditions(node, snapshot), full=overloaded, margin=margin, excused=scarce
    )
    known = [group for group in node.groups if group.measured]
    obstacle = find_obstacle(known, conditions)
    if obstacle is None and node.late >= rules.misses:
        conditions = evolve(conditions, bursty=True)
        obstacle = find_obstacle(known, conditions)
        if obstacle is None and conditions.one_lock:
            return _part(node, snapshot, rules)
    if obstacle is None:
        return []
    return _move_offenders(
        node, known, obstacle, conditions, snapshot, rules, homeless
    ) or _move_victims(node, known, obstacle, snapshot, rules)


def _move_offenders(
    node: NodeView,
    known: Sequence[Group],
    obstacle: Obstacle,
    conditions: Conditions,
    snapshot: Snapshot,
    rules: BestFit,
    homeless: Homeless,
) -> list[Action]:
    """Those with the longest holds, no more of them than needed, if others can take them."""
    victim = obstacle.victim.required_latency
    # With one lock, and where all of it is in use or wanted at the same time, another thread would
    # compute nothing more. It still helps those who are stricter than what is moved, because the
    # lock is handed on quickly.
    wanted = conditions.bursty or snapshot.computing >= rules.full
    exhausted = conditions.one_lock and wanted
    actions: list[Action] = []
    left = list(known)
    for group in sorted(known, key=lambda group: group.hold, reverse=True):
        one_of_many = group.hold <= victim / 2 and group.required_latency <= victim
        if not group.movable or homeless.everywhere(group, node, snapshot, rules):
            if group.hold > victim and group is not obstacle.victim:
                return []  # whoever else goes, the victim waits for this one
            continue
        if exhausted and one_of_many and group.computes:
            continue
        count = _how_many(left, group, conditions)
        reason = f"relieves {node.name}, where {obstacle}"
        actions.append(Relocate(node.name, group, count, reason, conditions.bursty))
        left.remove(group)
        if count < group.count:
            left.append(group.of_count(group.count - count))
        if find_obstacle(left, conditions) is None:
            return actions
    return []


def _how_many(groups: Sequence[Group], offenders: Group, conditions: Conditions) -> int:
    """How many of a group must go; all of them, if that does not suffice either."""
    others = [group for group in groups if group is not offenders]
    for part in (4, 2):
        count = -(-offenders.count // part)
        rest = offenders.count - count
        if rest and find_obstacle((*others, offenders.of_count(rest)), conditions) is None:
            return count
    # There is no use in leaving a node empty.
    return offenders.count if others else offenders.count - 1


def _move_victims(
    node: NodeView,
    known: Sequence[Group],
    obstacle: Obstacle,
    snapshot: Snapshot,
    rules: BestFit,
) -> list[Action]:
    """The offenders cannot go: those must who would not wait for them, if it is not in vain."""
    longest = max(group.hold for group in known)
    victims = [
        group
        for group in node.groups
        if group.movable
        and group.required_latency <= obstacle.victim.required_latency
        and group.hold < longest
    ]
    if not victims or not rules.has_room(victims, snapshot, avoid=node.name):
        return []
    reason = f"leaves {node.name} to those who cannot leave it; {obstacle}"
    return [Relocate(node.name, group, group.count, reason) for group in victims]


def _part(node: NodeView, snapshot: Snapshot, rules: BestFit) -> list[Action]:
    """The strictest leave those who declare more, if these take most of the time that is taken.

    The holds that are measured add up to less than what was waited. A thread that is no node's may
    be to blame: each time a node has served somebody it lets go of the lock, and has to wait for it
    again. By themselves the strictest wait for it once.
    """
    strictest = node.totals.strictest
    strict = [group for group in node.groups if group.required_latency <= strictest]
    load = sum(group.load for group in strict)
    if node.load - load <= max(load, HARDLY_ANY) or not all(group.movable for group in strict):
        return []
    if not rules.has_room(strict, snapshot, avoid=node.name):
        return []
    reason = f"leaves those on {node.name} who declare more; nothing measured says why all wait"
    return [Relocate(node.name, group, group.count, reason) for group in strict]
