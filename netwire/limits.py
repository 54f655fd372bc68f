"""How much a peer may make us hold, in bytes, and what happens at each limit."""

from __future__ import annotations

from attrs import field, frozen

from netwire.checks import whole


@frozen(kw_only=True)
class Limits:
    """The limits of one wire.

    Args:
        message: Longest message taken, bytes, all its fragments together and after unmasking.
            One that is longer is refused with 1009 from its header, before any of its payload
            is kept.
        fragments: Most frames one message may consist of; one more is refused with 1009.
        head: Longest HTTP head of a handshake, bytes, the same whether it arrives in one read or
            byte by byte; refused with 431. Also the most that is kept between a request and its
            answer.
        headers: Most header lines in a head; refused with 431.
    """

    message: int = field(default=1024 * 1024, validator=whole)
    fragments: int = field(default=1024, validator=whole)
    head: int = field(default=16 * 1024, validator=whole)
    headers: int = field(default=100, validator=whole)
