"""What is known of one connection, in figures."""

from __future__ import annotations

from attrs import frozen

from foreman.worker import WorkerStatistics


@frozen(kw_only=True)
class ConnectionStatistics(WorkerStatistics):
    """What one connection has cost, how it was served, and what its peer was not sent.

    Attributes:
        waiting: What waits now because the peer reads slowly, bytes; 256 for each message included.
        dropped: Messages that gave way, as the listener's `SlowReader` says.
        superseded: How many of them a newer one of the same key has replaced.
    """

    waiting: int
    dropped: int
    superseded: int
