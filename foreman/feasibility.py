"""The one rule behind placing, moving and merging: which workers may share a node.

A node may hold a set of workers if each of them, once ready, is served within what it declared.
Nobody can be promised anything where more is asked of a node than it can do: then a queue grows
without end. That is cured by another node, unless the workers compute and there is one interpreter
lock. Otherwise a worker may have to wait for

- the longest hold of any *other* worker there, because nothing can be preempted;
- the queue expected ahead of it. While the node is not full that is the mean of a single server
  with exponential holds (M/M/1: load times mean hold over the idle share); at the worst, and where
  workers have shown to become ready together, it is each of the others once;
- the interpreter lock, once for each other node that computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from foreman.demand import Group, Totals

# Who declares more than another by this factor is much looser.
MUCH_LOOSER = 10

# Whoever declares less than so many seconds is kept apart from those who are much looser, where
# there is one interpreter lock: to others some waits for it more mean nothing.
STRICT = 0.1


@frozen(kw_only=True)
class Conditions:
    """Under what the rule is applied.

    Args:
        full: The load up to which a node can be filled, and the queue is reckoned by its mean,
            0 to 1.
        lock_wait: What a ready worker loses to the interpreter lock, seconds.
        margin: The share of each declared latency that may be used up, 0 to 1.
        bursty: Whether the workers become ready together.
        one_lock: Whether only one node at a time can compute. A worker that computes for longer
            than it would wait itself is then not promised to be spared others that compute: with
            a node of its own it would be served no sooner, and everybody else later.
        excused: Whether nodes are so scarce that they may be overfilled, and that no worker that
            holds its node for longer than it would wait itself is promised anything.
    """

    full: float
    lock_wait: float
    margin: float = 1.0
    bursty: bool = False
    one_lock: bool = False
    excused: bool = False


@frozen
class Obstacle:
    """A promise that could not be kept.

    Attributes:
        victim: Whose.
        wait: How long one of them might wait, seconds; infinite where the queue would grow.
        hold: The part of `wait` that is the longest hold of another, seconds.
        load: The load of all of them together.
    """

    victim: Group
    wait: float
    hold: float
    load: float

    def __str__(self) -> str:
        kind = self.victim.kind.rpartition(".")[2]
        if self.wait == math.inf:
            return f"{kind} and others would need {self.load:.0%} of its time"
        return (
            f"{kind} declaring {self.victim.required_latency:g} s might wait {self.wait:.3g} s, "
            f"{self.hold:.3g} s of it for one other"
        )


def find_obstacle(groups: Sequence[Group], conditions: Conditions) -> Obstacle | None:
    """The first promise that workers sharing a node would break; None when all can be kept."""
    load = computing = rush = together = longest = second = 0.0
    holder: Group | None = None
    for group in groups:
        load += group.load
        computing += group.computing
        rush += group.rush
        together += group.round
        if group.hold > longest or holder is None:
            holder, second, longest = group, longest, group.hold
        elif group.hold > second:
            second = group.hold
    crowded = load > conditions.full and not conditions.excused
    alone = len(groups) == 1 and groups[0].count == 1
    if crowded and not alone and not (conditions.one_lock and computing > load / 2):
        return Obstacle(groups[0], math.inf, longest, load)
    # Each of the others once is the worst, so it stands for "as bad as can be".
    queue = rush / (1.0 - load) if load <= conditions.full and not conditions.bursty else together
    for group in groups:
        # The one with the longest hold does not wait for itself.
        hold = second if group is holder and group.count == 1 else longest
        others = together - group.round / group.count
        wait = hold + min(queue, others) + conditions.lock_wait
        # Alone, it waits for nobody.
        broken = wait > conditions.margin * group.required_latency and others > 0.0
        if broken and not (group.outsized and _excused(groups, conditions)):
            return Obstacle(group, wait, hold, load)
    return None


def would_mix(there: Totals, others: Totals) -> bool:
    """Whether somebody strict would be beside others who declare much more.

    Those who hold a node for longer than they would wait themselves are promised nothing.
    """
    strictest = min(there.strictest, others.strictest)
    return strictest < STRICT and max(there.loosest, others.loosest) >= MUCH_LOOSER * strictest


def has_obstacle(there: Totals, newcomer: Group, full: float) -> bool:
    """Whether it is plain that `find_obstacle` finds one when these join: a glance, not a search.

    The newcomer, where it keeps to what it declares, and the strictest that is there are looked at,
    under the best of conditions.
    """
    queue = there.others
    load = there.load + newcomer.load
    if load <= full:
        queue = min(queue, (there.rush + newcomer.rush) / (1.0 - load))
    if there.longest + queue > newcomer.required_latency and not newcomer.outsized:
        return there.round > 0.0
    hold = newcomer.hold if newcomer.hold > there.second else there.second
    return hold + queue > there.strictest and newcomer.round > 0.0


def _excused(groups: Sequence[Group], conditions: Conditions) -> bool:
    if conditions.excused:
        return True
    return conditions.one_lock and all(other.computes for other in groups)
