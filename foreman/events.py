"""What a Foreman tells: each event says what happened to whom, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from foreman.node import Node
    from foreman.worker import Worker


@frozen
class Placed:
    """A worker was given its first node."""

    worker: Worker
    node: Node
    reason: str


@frozen
class Moved:
    """A worker runs on another node from now on. ``pause`` is how long it ran on none, seconds."""

    worker: Worker
    old: Node
    new: Node
    pause: float
    reason: str


@frozen
class Stayed:
    """A move was given up; the worker goes on where it was."""

    worker: Worker
    node: Node
    reason: str


@frozen
class Spawned:
    """A node was started."""

    node: Node
    reason: str


@frozen
class Retired:
    """A node was stopped."""

    node: Node
    reason: str


@frozen
class Missed:
    """A node kept the ready waiting longer than its strictest worker declared, rounded down to a
    step (`Worker.required_latency`).

    Told at most once a second for each node; `Worker.statistics` counts every one.
    """

    node: Node
    wait: float
    required_latency: float
    reason: str


@frozen
class Stuck:
    """A node has not come round for longer than it promised; ``holder`` is what it is busy with.

    ``holder`` is None when the node is not in any worker's code. ``stack`` is where its thread was
    when that was noticed, innermost call last.
    """

    node: Node
    holder: Worker | None
    wait: float
    reason: str
    stack: str


@frozen
class Refused:
    """A worker could not be placed, or its new latency could not be kept where it is."""

    worker: Worker
    required_latency: float
    reason: str


Event: TypeAlias = Placed | Moved | Stayed | Spawned | Retired | Missed | Stuck | Refused
