"""What a policy can decide, and what a policy is.

A policy is pure. It reads no clock and does no I/O: the same snapshot gives the same decision, so
it is tested with made-up snapshots. The Foreman carries its decisions out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from attrs import frozen

from foreman.demand import Demand, Group, Snapshot


@frozen
class Place:
    """Put the worker on this node."""

    node: str
    reason: str


@frozen
class Spawn:
    """Start a node; when asked where to put a worker, for that worker."""

    reason: str


@frozen
class Refuse:
    """No place can be found that keeps every declared latency."""

    reason: str


@frozen
class Relocate:
    """Move so many of a group, the longest holds first, off their node; each is placed anew.

    ``bursty`` says that the node's workers have shown to become ready at the same time.
    """

    node: str
    group: Group
    count: int
    reason: str
    bursty: bool = False


@frozen
class Retire:
    """Move everybody off the node, each being placed anew, and stop it."""

    node: str
    reason: str


Placement: TypeAlias = Place | Spawn | Refuse
Action: TypeAlias = Spawn | Relocate | Retire


class Policy(Protocol):
    """What decides. Implementations are pure and may be shared between threads."""

    def assume(self, kind: str, required_latency: float, shown: Demand | None) -> Demand:
        """The demand to reckon with for a worker that has not run yet.

        Args:
            kind: Its class.
            required_latency: What it declares, seconds.
            shown: What workers of that class have cost so far, or None if none has run.
        """

    def place(
        self, demand: Demand, snapshot: Snapshot, home: str | None = None, avoid: str | None = None
    ) -> Placement:
        """Where a worker with this demand goes.

        Args:
            demand: The worker; not counted in the snapshot.
            snapshot: The nodes as they are.
            home: The node it is on already, preferred while it is feasible; None for a new one.
            avoid: The node it is to leave; None when there is none.
        """

    def review(self, snapshot: Snapshot) -> Sequence[Action]:
        """What to do about the nodes as they are; called again and again, and after every miss."""
