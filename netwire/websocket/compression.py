"""permessage-deflate at work: deflating, and inflating within bounds (RFC 7692, section 7.2)."""

from __future__ import annotations

import zlib
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from attrs import frozen

from netwire.errors import InvalidPayload
from netwire.websocket.deflate import Agreement, Deflate

if TYPE_CHECKING:
    from zlib import _Compress, _Decompress

_TAIL = b"\0\0\xff\xff"
"""An empty block as a flush ends with; it is not sent (section 7.2.1)."""

_AFTER_FINAL = (_TAIL, b"\0" + _TAIL)
"""What may follow a final block: the tail, and the header of an empty one (section 7.2.3.4)."""


def find_zlib() -> ModuleType:
    """zlib-ng, where the extra ``speed`` is installed; Python's zlib elsewhere.

    Both know the same levels, windows, flushes and bounds. At 1 KiB of JSON, level 1, zlib-ng
    deflates in 4.6 microseconds instead of 13.7 (to 0.45 instead of 0.36) and inflates in 1.7
    instead of 3.1. Intel's isal (6.5 and 4.3) has no levels above 3, and does not tell what is
    left of its input when a bound is reached.
    """
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib
    return zlib_ng


engine: Any = find_zlib()


@frozen
class Direction:
    """How the messages of one side are compressed.

    Attributes:
        bits: The window.
        context: Whether it is kept from one message to the next.
    """

    bits: int
    context: bool


@frozen(eq=False)
class Terms:
    """What was agreed on, as one end sees it; one object for all connections that agree alike."""

    wanted: Deflate
    ours: Direction
    theirs: Direction


@lru_cache(256)
def terms(agreed: Agreement, wanted: Deflate, client: bool) -> Terms:
    """What an agreement means at one end."""
    server = Direction(agreed.server_bits, agreed.server_context)
    clients = Direction(agreed.client_bits, agreed.client_context)
    return Terms(wanted, clients, server) if client else Terms(wanted, server, clients)


class Compression:
    """The compression of one connection. Owned by its wire.

    It holds memory only where context is taken over.

    Attributes:
        inflated: Bytes since its owner last set it to 0.
    """

    __slots__ = ("_deflater", "_inflater", "_stopped", "inflated", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._deflater: _Compress | None = None
        self._inflater: _Decompress | None = None
        self._stopped = False
        self.inflated = 0

    def stop(self) -> None:
        """Inflate nothing more: what still comes is not wanted."""
        self._stopped = True
        self._deflater = self._inflater = None

    def deflate(self, payload: bytes) -> bytes | None:
        """A message's payload, compressed; None where it is better, or must be, sent as it is."""
        wanted, ours = self.terms.wanted, self.terms.ours
        # Raw deflate within 256 bytes is what no zlib does; nobody has to compress.
        if len(payload) < wanted.threshold or ours.bits < 9:
            return None
        deflater = self._deflater
        if deflater is None:
            deflater = engine.compressobj(
                wanted.level, engine.DEFLATED, -ours.bits, wanted.memory_level
            )
            if ours.context:
                self._deflater = deflater
        deflated = deflater.compress(payload) + deflater.flush(engine.Z_SYNC_FLUSH)
        # With context it has to be sent however long: what follows may refer to it.
        if len(deflated) - len(_TAIL) >= len(payload) and not ours.context:
            return None
        return deflated[: -len(_TAIL)]

    def inflate(self, payload: bytes, limit: int) -> bytes:
        """A message's payload, inflated.

        Args:
            payload: All of it. While it arrives it is kept as it is: inflated, what a few bytes
                stand for could be a thousand times as long.
            limit: How many bytes the message may have. Not more than one is inflated beyond it;
                whoever gets that one has to refuse the message.

        Raises:
            InvalidPayload: It is not deflated data.
        """
        if self._stopped:
            return b""
        inflater = self._inflater
        if inflater is None:
            # Some that agreed on 8 bits use 9 all the same, as zlib did until 1.2.9.
            inflater = engine.decompressobj(-max(self.terms.theirs.bits, 9))
        try:
            inflated: bytes = inflater.decompress(payload + _TAIL, limit + 1)
        except engine.error as error:
            raise InvalidPayload("message that cannot be inflated") from error
        self.inflated += len(inflated)
        if len(inflated) > limit:
            return inflated
        if inflater.eof and inflater.unused_data not in _AFTER_FINAL:
            raise InvalidPayload("deflated data behind its final block")
        kept = self.terms.theirs.context and not inflater.eof
        self._inflater = inflater if kept else None
        return inflated
