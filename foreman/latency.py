"""The declared latency: the one number everything here turns on."""

from __future__ import annotations

import math
from typing import Any

from foreman.errors import InvalidLatency


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


class DeclaredLatency:
    """The attribute ``required_latency``: the default on a class, a promise on an instance."""

    def __get__(self, worker: Any, owner: Any) -> float:
        latency: float = owner._default_latency if worker is None else worker._required_latency
        return latency

    def __set__(self, worker: Any, seconds: float) -> None:
        worker._declare(check_latency(seconds))
