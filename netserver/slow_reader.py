"""What is to happen when a peer reads more slowly than it is sent to."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from attrs import evolve, field, frozen, validators

from netwire.checks import one_of, positive, whole

Policy: TypeAlias = Literal["close", "wait", "drop_new", "drop_old", "latest"]

POLICIES: tuple[Policy, ...] = ("close", "wait", "drop_new", "drop_old", "latest")

# How old what waits may become, in declared latencies. The latency is what a message may wait on
# our side; a peer and a network take their own, often ten times that. What waits for ten times
# longer still has missed its purpose.
AGE_IN_LATENCIES = 100

# No age limit derived is shorter than that, seconds. Dropping costs a message: longer than the
# pause of a lost packet (RFC 6298 retransmits after 0.2 to 1 s). Closing costs the connection:
# longer than a packet that is lost twice, 3 s.
LEAST_AGE_TO_DROP = 1.0
LEAST_AGE_TO_CLOSE = 5.0


@frozen(kw_only=True)
class SlowReader:
    """What happens to messages for a peer that does not take them, as long as it does not.

    The transport takes ``write_high_water`` bytes ahead of the peer; what is sent beyond that waits
    in the connection, and this says how much, how long, and what gives way. Pings, pongs and closes
    go ahead of what waits, do not count, and are never dropped.

    With every policy `Connection.drain` waits until nothing waits any more. A peer that stays over
    the mark for the config's ``write_timeout`` is cut; with every policy but ``close`` only if it
    has taken nothing in all that time.

    Args:
        policy: What gives way when a message would pass a limit:

            ``close``: the connection. It is closed with ``close_code``, ahead of what waits, which
            is lost; cut where the protocol has no farewell.

            ``wait``: nobody, if senders wait for `Connection.drain` after each message. Who does
            not is refused: `Connection.send` returns False, and the message counts as dropped.

            ``drop_new``: the message. What waits is kept, however old; while it is too old, nothing
            new is taken.

            ``drop_old``: what has waited longest; and what is too old is not written any more.

            ``latest``: the older message of the same ``key``, at once; a newer one takes its place
            in the queue, so a key that changes often is not put off for ever, and the order of
            different keys may change. All messages without a key count as of one key. Over the
            limit those in front give way.
        limit: The bytes that may wait, each message counting 256 more than its own; None for the
            config's ``send_limit``.
        max_age: How old what waits may become, seconds; `math.inf` for no limit. None to derive it
            from what the connection declares when something begins to wait: 100 times its
            ``required_latency``, at least 1 s, with ``close`` at least 5 s; with ``latest`` there
            is no limit, since what waits is the newest there is.
        close_code: What ``close`` closes with: 1008, a policy, or 1013, try again later.
    """

    policy: Policy = field(default="close", validator=one_of(POLICIES))
    limit: int | None = field(default=None, validator=validators.optional(whole))
    max_age: float | None = field(default=None, validator=validators.optional(positive))
    close_code: int = field(default=1008, validator=one_of((1008, 1013)))

    @property
    def drops(self) -> bool:
        """Whether what is too old is worth nothing, so that little should be on its way."""
        return self.policy in ("drop_new", "drop_old", "latest")

    def within(self, send_limit: int) -> SlowReader:
        """The same with its limit in bytes filled in."""
        return self if self.limit is not None else evolve(self, limit=send_limit)

    def age_limit(self, required_latency: float) -> float:
        """How old what waits may become, seconds, for who declares that latency."""
        if self.max_age is not None:
            return self.max_age
        if self.policy == "latest":
            return math.inf
        least = LEAST_AGE_TO_CLOSE if self.policy == "close" else LEAST_AGE_TO_DROP
        return max(least, AGE_IN_LATENCIES * required_latency)
