"""The declared latency: the one number everything here turns on."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any

from foreman.errors import InvalidLatency

# Among them are those that people declare.
_STEPS = ("1", "1.2", "1.5", "2", "2.5", "3", "4", "5", "6", "8")
_LATENCIES = [float(f"{step}e{power}") for power in range(-6, 6) for step in _STEPS]


def check_latency(value: object) -> float:
    """``value`` as a declared latency in seconds.

    Raises:
        InvalidLatency: It is zero, negative, infinite, NaN or not a real number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidLatency(value)
    try:
        seconds = float(value)
    except OverflowError:  # an int beyond what a float can hold
        raise InvalidLatency(value) from None
    if not (seconds > 0 and math.isfinite(seconds)):
        raise InvalidLatency(value)
    return seconds


def round_down(seconds: float) -> float:
    """The nearest step that is not longer: what a declared latency is kept as, and counted under.

    However many latencies are declared, there are ten to a decade then, and what a decision costs
    does not grow with them. Shorter ones than the first step are left as they are.
    """
    at = bisect_right(_LATENCIES, seconds)
    return _LATENCIES[at - 1] if at else seconds


def check_declaration(worker_class: type) -> None:
    """See that nothing hides the attribute by which workers of this class declare their latency.

    Raises:
        TypeError: ``required_latency`` was assigned to a class that existed already, or comes from
            a base class that is no worker's: what is declared would get lost.
    """
    owner = next(owner for owner in worker_class.__mro__ if "required_latency" in vars(owner))
    found = vars(owner)["required_latency"]
    if not isinstance(found, DeclaredLatency):
        raise TypeError(
            f"{owner.__name__}.required_latency is a plain {type(found).__name__}, which hides"
            " what workers declare: set it in the class body of a subclass of Worker, or on"
            " each worker, but not on a class that exists already"
        )


class DeclaredLatency:
    """The attribute ``required_latency``: the default on a class, a promise on an instance."""

    def __get__(self, worker: Any, owner: Any) -> float:
        latency: float = owner._default_latency if worker is None else worker._required_latency
        return latency

    def __set__(self, worker: Any, seconds: float) -> None:
        worker._declare(check_latency(seconds))
