"""How long to wait before connecting again: exponential, capped, with full jitter.

The jitter is taken after the cap, over the whole of it, so that clients which lost the same
server do not return together. Source: "Exponential Backoff And Jitter", AWS Architecture Blog,
2015, where full jitter needs the fewest calls of the variants compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from attrs import Attribute, field, frozen, validators

from netwire.checks import whole


def _seconds(instance: object, attribute: Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} is a number of seconds, not {value!r}")
    if not (0 <= value < math.inf):
        raise ValueError(f"{attribute.name} must be finite and not negative, not {value!r}")


@frozen(kw_only=True)
class Backoff:
    """The waits between attempts.

    Args:
        first: Longest wait after the first failure, seconds.
        factor: How much longer each further one is; at least 1.
        cap: Longest wait of all, seconds; not less than ``first``.
        reset_after: How long a connection must have lived, seconds, for the next failure to count
            as the first again. Without it a server that accepts and drops at once would be called
            without a pause.
        attempts: Failures in a row, the first loss among them, after which to give up; None means
            never.

    Raises:
        TypeError: A wait is not a number.
        ValueError: A wait, the factor or the attempts are out of range.
    """

    first: float = field(default=0.25, validator=_seconds)
    factor: float = field(
        default=2.0, validator=validators.and_(validators.ge(1.0), validators.lt(math.inf))
    )
    cap: float = field(default=30.0, validator=_seconds)
    reset_after: float = field(default=10.0, validator=_seconds)
    attempts: int | None = field(default=None, validator=validators.optional(whole))

    def __attrs_post_init__(self) -> None:
        if self.cap < self.first:
            raise ValueError(f"cap {self.cap!r} is less than first {self.first!r}")

    def delay(self, failures: int, random: Callable[[], float]) -> float:
        """How long to wait now.

        Args:
            failures: How many there were in a row; at least 1.
            random: Gives a number from 0 to 1, such as ``random.random``.

        Returns:
            Seconds, evenly spread from 0 to the capped wait.
        """
        try:
            longest = min(self.cap, self.first * self.factor ** (failures - 1))
        except OverflowError:
            longest = self.cap
        return longest * random()


class Retry:
    """Counts the failures of one connection. Not thread-safe: its owner calls it."""

    __slots__ = ("backoff", "failures")

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.failures = 0

    def next_delay(self, lived: float, random: Callable[[], float]) -> float | None:
        """Note one more failure.

        Args:
            lived: How long the connection was open, seconds; 0 when it never was.
            random: As for `Backoff.delay`.

        Returns:
            Seconds to wait before the next attempt; None to give up.
        """
        if lived > 0 and lived >= self.backoff.reset_after:
            self.failures = 0
        self.failures += 1
        if self.backoff.attempts is not None and self.failures >= self.backoff.attempts:
            return None
        return self.backoff.delay(self.failures, random)
