"""The framings once more, written to be plainly right: the whole stream at once, nothing kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

Account: TypeAlias = tuple[list[bytes], int | None, bool]
"""The messages, the close code of the failure or None, and whether a message was begun."""


def envelope(stream: bytes, limit: int) -> Account:
    messages: list[bytes] = []
    while stream:
        width = stream[0] - 0x30
        if not 1 <= width <= 9:
            return messages, 1002, False
        digits = stream[1 : 1 + width]
        if re.search(rb"[^0-9]", digits) or (width > 1 and digits[:1] == b"0"):
            return messages, 1002, False
        if len(digits) < width:
            return messages, None, True
        if int(digits) > limit:
            return messages, 1009, False
        end = 1 + width + int(digits)
        if len(stream) < end:
            return messages, None, True
        messages.append(stream[1 + width : end])
        stream = stream[end:]
    return messages, None, False


def length_prefix(stream: bytes, limit: int) -> Account:
    messages: list[bytes] = []
    while len(stream) >= 4:
        length = int.from_bytes(stream[:4], "big")
        if length > limit:
            return messages, 1009, False
        if len(stream) < 4 + length:
            break
        messages.append(stream[4 : 4 + length])
        stream = stream[4 + length :]
    return messages, None, bool(stream)


def lines(stream: bytes, limit: int) -> Account:
    messages: list[bytes] = []
    *whole, rest = stream.split(b"\n")
    for line in whole:
        line = line.removesuffix(b"\r")
        if len(line) > limit:
            return messages, 1009, False
        messages.append(line)
    # Bytes of a line that has not ended: a CR may turn out to belong to its end.
    if len(rest.removesuffix(b"\r")) > limit:
        return messages, 1009, False
    return messages, None, bool(rest)


REFERENCES: Mapping[str, Callable[[bytes, int], Account]] = MappingProxyType(
    {"envelope": envelope, "length-prefix": length_prefix, "lines": lines}
)
"""By the names of `netwire.framing.FRAMINGS`; ``raw`` has no boundaries to be wrong about."""
