"""What a target raises when the wire layer breaks a promise."""

from __future__ import annotations


class Broken(Exception):
    """A promise of the wire layer does not hold for an input."""


def demand(holds: bool, promise: str, *seen: object) -> None:
    """Fail unless a promise holds; ``seen`` is shown with it."""
    if not holds:
        raise Broken("\n  ".join([promise, *map(repr, seen)]))


def demand_equal(found: object, expected: object, promise: str) -> None:
    """Fail, with both shown, unless they are equal."""
    if found != expected:
        raise Broken(f"{promise}\n  expected {expected!r}\n  found    {found!r}")
