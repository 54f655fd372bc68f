"""What the bytes of one fuzzing input mean: two bytes of choices, then the stream."""

from __future__ import annotations

from attrs import frozen

from netwire import Limits

_BYTEWISE = 160
"""The longest stream that is also tried byte by byte: longer ones would take too long."""

# A connection's, and some that small inputs reach.
LIMITS = (
    Limits(),
    Limits(message=125, fragments=3, head=1024, headers=6),
    Limits(message=16, fragments=2, head=200, headers=5),
    Limits(message=70_000, fragments=1, head=400, headers=100),
)


@frozen
class Input:
    """One input.

    Attributes:
        options: The first byte: its lowest two bits choose the limits, the others are the
            target's own.
        seed: The second byte: how the stream is cut into pieces.
        stream: The rest: what the peer sends.
    """

    options: int
    seed: int
    stream: bytes

    @classmethod
    def parse(cls, data: bytes) -> Input:
        options, seed = (*data[:2], 0, 0)[:2]
        return cls(options, seed, data[2:])

    @property
    def limits(self) -> Limits:
        return LIMITS[self.options & 3]

    def has(self, bit: int) -> bool:
        """Whether an option of the target's own is set; they begin with bit 2."""
        return bool(self.options >> bit & 1)

    def splits(self) -> list[list[bytes]]:
        """The stream in every way in which it is to be fed: the first is whole."""
        splits = [[self.stream], cut(self.stream, self.seed)]
        if len(self.stream) <= _BYTEWISE:
            splits.append([self.stream[i : i + 1] for i in range(len(self.stream))])
        return splits


def cut(stream: bytes, seed: int) -> list[bytes]:
    """The stream in pieces, mostly of a few bytes, as the seed has it."""
    pieces = []
    value = seed
    start = 0
    while start < len(stream):
        value = (value * 141 + 57) & 0xFF
        size = value if value % 7 == 6 else 1 + (value >> 3) % 9
        size += len(stream) >> 8  # a long one in larger pieces, so that they do not take too long
        pieces.append(stream[start : start + size])
        start += size
    return pieces
