"""Where the Foreman has put a worker, and what it reckons with for it."""

from __future__ import annotations

from concurrent.futures import Future
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foreman.demand import Demand
    from foreman.evacuation import Evacuation


class Record:
    """What is remembered of a worker that was moved away for what it did to others.

    Attributes:
        pardoned: Whether that was forgotten since, or it was let back among them.
        relapses: How often it did it again then.
        remembered_until: Until when what it did is not forgotten, by the Foreman's clock.
        relocated: How often it was moved away in a row, for what it did or for what was done to it.
        relocated_at: When that was last, by the Foreman's clock.
    """

    __slots__ = ("pardoned", "relapses", "relocated", "relocated_at", "remembered_until")

    def __init__(self) -> None:
        self.pardoned = False
        self.relapses = 0
        self.remembered_until = 0.0
        self.relocated = 0
        self.relocated_at = 0.0


class Seat:
    """One worker's place. Guarded by the Foreman's lock.

    A decision only changes `node` or `leaving`; whoever carries the worker looks at them after
    every leg of the way, so a second decision during a move merely extends it.

    Attributes:
        worker: Whose it is.
        node: The node on whose roster it counts: where it is, or where it goes.
        demand: What it counts there.
        reason: Why it goes where it goes; empty while it is there.
        bound: The node it is on, or physically on its way to, which must not end meanwhile; None
            before it was sent anywhere.
        in_transit: Whether somebody is carrying it already.
        leaving: Whether it was removed and only has to be let go.
        evacuation: What moves it, among others; None when nothing does.
        record: What it has done to others; None as long as it was not moved away for anything.
        stays_until: Until when it is taken for one that cannot be moved, by the Foreman's clock.
        runs: How often it had run when its costs were last looked at.
        windows: In how many windows it ran.
        arrivals: Futures of those who wait for a move, each with the node it was asked to go to;
            None without any.
        departures: Futures of those who wait for its removal; None without any.
    """

    __slots__ = (
        "arrivals",
        "bound",
        "demand",
        "departures",
        "evacuation",
        "in_transit",
        "leaving",
        "node",
        "reason",
        "record",
        "runs",
        "stays_until",
        "windows",
        "worker",
    )

    def __init__(self, worker: Any, node: Any, demand: Demand, reason: str) -> None:
        self.worker = worker
        self.node = node
        self.demand = demand
        self.reason = reason
        self.bound: Any = None
        self.in_transit = True
        self.leaving = False
        self.evacuation: Evacuation | None = None
        self.record: Record | None = None
        self.stays_until = 0.0
        self.runs = 0
        self.windows = 0
        self.arrivals: list[tuple[Any, Future[bool]]] | None = None
        self.departures: list[Future[None]] | None = None

    @property
    def offended(self) -> bool:
        """Whether it was moved away for what it did to others."""
        return self.record is not None

    @property
    def pardoned(self) -> bool:
        """Whether that was forgotten since, or it was let back among them."""
        return self.record is not None and self.record.pardoned

    @property
    def remembered_until(self) -> float:
        """Until when what it did is not forgotten, by the Foreman's clock."""
        return 0.0 if self.record is None else self.record.remembered_until

    def pardon(self) -> None:
        """What it did, if anything, is forgotten; should it do it again, that is a relapse."""
        if self.record is not None:
            self.record.pardoned = True

    def settle(self) -> list[tuple[Any, Future[bool]]]:
        """It is where it was to go; returns those who wait for that."""
        self.in_transit = False
        self.reason = ""
        arrivals, self.arrivals = self.arrivals, None
        return arrivals or []

    def changes_after(self, now: float) -> float:
        """When it is the next time reckoned with otherwise although it rests; infinity for never.

        It may be asked to move again then, or what it did may be forgotten.
        """
        ends = (self.stays_until, self.remembered_until)
        return min((until for until in ends if until >= now), default=inf)
