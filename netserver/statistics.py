"""What is known of one connection, in figures."""

from __future__ import annotations

from attrs import frozen

from foreman.worker import WorkerStatistics


@frozen(kw_only=True)
class ConnectionStatistics(WorkerStatistics):
    """What one connection has cost, how it was served, and how its peer fares.

    Attributes:
        round_trip: How long the latest ping took to be answered, seconds; None before that.
        smoothed_round_trip: The same, smoothed as TCP does (RFC 6298).
        waiting: What waits now because the peer reads slowly, bytes; 256 for each message included.
        dropped: Messages that gave way, as the listener's `SlowReader` says.
        superseded: How many of them a newer one of the same key has replaced.
    """

    round_trip: float | None
    smoothed_round_trip: float | None
    waiting: int
    dropped: int
    superseded: int
