"""What a Foreman can tell about itself at any time."""

from __future__ import annotations

from attrs import frozen

from foreman.meters import ScanLatency


@frozen(kw_only=True)
class NodeStatistics:
    """One node.

    Attributes:
        name: Its name.
        workers: Workers on it, or on their way to it.
        load: The share of its time they are reckoned to use.
        scan_latency: How long it keeps a ready worker waiting, recently.
        required_latency: The strictest latency declared there, as its step, seconds; None without
            workers.
        stuck: Whether something keeps it from coming round right now.
    """

    name: str
    workers: int
    load: float
    scan_latency: ScanLatency
    required_latency: float | None
    stuck: bool


@frozen(kw_only=True)
class ForemanStatistics:
    """The nodes now, and how many events of each kind there have been since the start."""

    nodes: tuple[NodeStatistics, ...]
    workers: int
    events: dict[str, int]
