"""Envelope framing: a header of ASCII digits, then the payload.

One digit *d*, 1 to 9; then *d* digits with the payload's length in decimal, without leading
zeros; then the payload: ``b"15hello"``, ``b"10"`` for an empty one.
"""

from __future__ import annotations

from typing import Any

from netwire.errors import MessageTooBig, ProtocolError
from netwire.events import Event
from netwire.framing.base import Framing
from netwire.wire import Message, State

_LONGEST = 10**9 - 1
_OPEN = State.OPEN  # an enum's members are slow to look up


def _header(length: int) -> bytes:
    if length > _LONGEST:
        raise ValueError(f"a payload of {length} bytes is longer than an envelope's {_LONGEST}")
    digits = b"%d" % length
    return b"%d%b" % (len(digits), digits)


# Short messages are the ones whose header costs as much as their payload: both directions look
# it up. 1024 entries take 0.2 MiB and are made in under a millisecond.
_HEADERS = [_header(length) for length in range(1024)]
_LENGTHS = {header: length for length, header in enumerate(_HEADERS)}
_SHORT = len(_HEADERS)


def _read_header(data: bytes, start: int) -> int | None:
    """The length declared at ``start``, or None while the header is incomplete.

    Refuses at the first bad byte, so that a stream fails alike however it was split.
    """
    first = data[start]
    if not 0x31 <= first <= 0x39:
        raise ProtocolError(f"an envelope begins with a digit 1 to 9, not with byte {first:#04x}")
    width = first - 0x30
    digits = data[start + 1 : start + 1 + width]
    if width > 1 and digits.startswith(b"0"):
        raise ProtocolError("an envelope's length has no leading zeros")
    if digits and not digits.isdigit():
        raise ProtocolError("an envelope's length is decimal digits")
    return int(digits) if len(digits) == width else None


class Envelope(Framing):
    """The framing of ``tcp://``, ``tls://`` and ``unix://`` unless another is asked for."""

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # The short ways here are for what an envelope is, and not for what a subclass makes of it.
        if cls.encode is Envelope.encode and cls.encode_payload is not Envelope.encode_payload:
            cls.encode = Framing.encode  # type: ignore[method-assign]
        if cls.encode is not Envelope.encode and cls.header_of is Envelope.header_of:
            cls.header_of = Framing.header_of  # type: ignore[method-assign]

    def receive(self, data: bytes) -> list[Event]:
        # Mostly one short message comes at a time, and all of it: without the calls, and the care
        # for what is before and behind it, that the rest is worth.
        if data and not self._rest and self.transform is None and self.state is _OPEN:
            body = data[0] - 0x2F
            if _LENGTHS.get(data[:body]) == len(data) - body <= self.limits.message:
                return [data[body:]]
        return super().receive(data)

    def decode(self, data: bytes, into: list[bytes]) -> None:
        if self._rest:
            data = self.resume(data)
        limit = self.limits.message
        end = len(data)
        start = 0
        need = 0
        while start < end:
            # Whatever the first byte is: a header that is not a short one is not in the table.
            body = start + data[start] - 0x2F
            length = _LENGTHS.get(data[start:body])
            if length is None:
                length = _read_header(data, start)
                if length is None:
                    break
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

    def encode(self, message: Message) -> bytes:
        # What is sent most, without the calls that the rest is worth.
        if type(message) is bytes and self.transform is None and self.state is _OPEN:
            length = len(message)
            return (_HEADERS[length] if length < _SHORT else _header(length)) + message
        return super().encode(message)

    def header_of(self, message: bytes) -> bytes | None:
        if self.transform is not None or self.state is not _OPEN:
            return None
        return _header(len(message))

    def encode_payload(self, payload: bytes) -> bytes:
        length = len(payload)
        return (_HEADERS[length] if length < _SHORT else _header(length)) + payload
