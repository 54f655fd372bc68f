"""What a server can be told about the others, with the defaults and where they come from."""

from __future__ import annotations

import re
from typing import Any

from attrs import Attribute, field, frozen

from netwire.checks import one_of, seconds, whole

_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,32}")


def _word(_owner: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise ValueError(
            f"{attribute.name} has 1 to 32 letters, digits, _ and -, and is not {value!r}"
        )


@frozen(kw_only=True)
class ClusterConfig:
    """How a server works together with the others. The same for all of them.

    Args:
        prefix: The first word of every subject; servers with another one are another cluster.
        identities: What becomes of several connections of one identity, in the whole cluster:
            ``all`` may stay; only the ``newest`` does, and those before it are closed with 4000;
            or a further one is ``refuse``\\ d while there is one. Where servers cannot reach each
            other, each decides alone, and they settle it when they can.
        publish_limit: What may wait for the backplane, bytes. Beyond it nothing more is taken:
            a `Delivery` or an `Answer` says so, a broadcast that does not go out is counted.
        publish_age: How long it may wait while the link is down, seconds, before it is dropped.
            What goes into history waits as long as it takes.
        heartbeat: How often each server says that it is there, seconds.
        dead_after: How long nothing may be heard of one, seconds, before it is taken for gone and
            its members are taken out of every group. Only silence while the link works counts.
        probe_timeout: How long the broker may take to answer, seconds, before the link is dropped
            and made anew. It is asked every ``heartbeat``.
        resync: How often the servers compare what they know of a group's members, seconds, so that
            a notice that was lost is made up for; and how often each repeats which identities are
            connected to it, where not ``all`` connections of one may stay.
    """

    prefix: str = field(default="foreman", validator=_word)
    identities: str = field(default="all", validator=one_of(("all", "newest", "refuse")))
    publish_limit: int = field(default=8 * 1024 * 1024, validator=whole)
    publish_age: float = field(default=5.0, validator=seconds)
    heartbeat: float = field(default=1.0, validator=seconds)
    dead_after: float = field(default=5.0, validator=seconds)
    probe_timeout: float = field(default=5.0, validator=seconds)
    resync: float = field(default=30.0, validator=seconds)

    def __attrs_post_init__(self) -> None:
        if self.dead_after < 2 * self.heartbeat:
            raise ValueError(
                f"dead_after {self.dead_after!r} must be at least two heartbeats, of "
                f"{self.heartbeat!r} s each"
            )
