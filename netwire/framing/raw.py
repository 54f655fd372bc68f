"""No framing: what one read brings is one message."""

from __future__ import annotations

from netwire.framing.base import Framing


class Raw(Framing):
    """Bytes as they come, for a protocol that the user parses.

    A read longer than the limit becomes several messages of at most the limit. A stream has no
    boundaries of its own: where messages end is chance, and nothing is ever in mid-message.
    """

    __slots__ = ()

    def decode(self, data: bytes, into: list[bytes]) -> None:
        limit = self.limits.message
        if 0 < len(data) <= limit:
            into.append(data)
        else:
            into.extend(data[start : start + limit] for start in range(0, len(data), limit))

    def encode_payload(self, payload: bytes) -> bytes:
        return payload
