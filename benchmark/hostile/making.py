"""A short way to write an attack down."""

from __future__ import annotations

from collections.abc import Callable

from benchmark.hostile.peer import Attack, Peer

LOST = 1006


def attack(
    name: str,
    strike: Callable[[Peer], None],
    *expected: str,
    where: str = "ws",
    noted: int | None = LOST,
    opened: bool = True,
    deadline: str | None = None,
) -> Attack:
    """An attack on an open WebSocket, unless it is told otherwise; see `Attack`."""
    return Attack(
        name=name,
        where=where,
        strike=strike,
        expected=frozenset(expected),
        noted=noted,
        opened=opened,
        deadline=deadline,
    )
