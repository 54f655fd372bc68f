"""Lines: each message ends with LF; a CR before it is not part of it."""

from __future__ import annotations

from netwire.errors import MessageTooBig
from netwire.framing.base import Framing


class Lines(Framing):
    """One message per line, such as a person types into a terminal.

    A line over the limit is refused as soon as the limit is passed, not at its end.
    """

    __slots__ = ()

    def decode(self, data: bytes, into: list[bytes]) -> None:
        end = data.find(b"\n")
        if end < 0:
            # Only new bytes are searched and nothing is joined, so a dripped line costs no more.
            if self._rest:
                self._rest += data
            else:
                self.keep(data, 0)
            self._check(self._rest)
            return
        if self._rest:
            data = self.resume(data)
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._check(line)
            into.append(line.removesuffix(b"\r"))
        self._check(rest)
        if rest:
            self.keep(rest, 0)

    def encode_payload(self, payload: bytes) -> bytes:
        if b"\n" in payload or b"\r" in payload:
            raise ValueError("a line break in a message that is framed as a line")
        return payload + b"\n"

    def _check(self, line: bytes | bytearray) -> None:
        limit = self.limits.message
        # One byte more is no fault when it is the CR that is not counted.
        if len(line) > limit and not (len(line) == limit + 1 and line.endswith(b"\r")):
            raise MessageTooBig(limit + 1, limit)
