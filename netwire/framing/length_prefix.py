"""Length-prefix framing: four bytes, big-endian and unsigned, with the payload's length."""

from __future__ import annotations

from struct import Struct

from netwire.errors import MessageTooBig
from netwire.framing.base import Framing

_PREFIX = Struct(">I")
_SIZE = _PREFIX.size
_LONGEST = 2**32 - 1


def _prefix(length: int) -> bytes:
    if length > _LONGEST:
        raise ValueError(f"a payload of {length} bytes is longer than the prefix's {_LONGEST}")
    return _PREFIX.pack(length)


class LengthPrefix(Framing):
    """Each payload behind its length, as many other servers frame their messages."""

    __slots__ = ()

    def decode(self, data: bytes, into: list[bytes]) -> None:
        if self._rest:
            data = self.resume(data)
        limit = self.limits.message
        end = len(data)
        start = 0
        need = _SIZE
        while (body := start + _SIZE) <= end:
            (length,) = _PREFIX.unpack_from(data, start)
            if length > limit:
                raise MessageTooBig(length, limit)
            stop = body + length
            if stop > end:
                need = stop - start
                break
            into.append(data[body:stop])
            start = stop
        if start < end:
            self.keep(data[start:], need)

    def encode_payload(self, payload: bytes) -> bytes:
        return _prefix(len(payload)) + payload
