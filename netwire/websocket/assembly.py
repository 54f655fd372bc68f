"""One message in the making: its pieces, whatever way they arrive."""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Sized

from netwire.errors import InvalidPayload, MessageTooBig, TooManyFragments
from netwire.limits import Limits
from netwire.websocket.compression import Compression
from netwire.wire import Message

# A list of pieces is joined once, where a growing buffer is copied as it grows: 1 MB in reads of
# 64 KiB takes 83 microseconds instead of 104. But many small pieces cost many times their bytes.
_MOST_PIECES = 64
_FEW_PIECES = 16  # of a small message, which is quickly copied
_SMALL = 4096

_utf8 = getincrementaldecoder("utf-8")


def are_many(pieces: Sized, size: int) -> bool:
    """Whether pieces that have so many bytes together are to be joined."""
    return len(pieces) > (_FEW_PIECES if size < _SMALL else _MOST_PIECES)


class Assembly:
    """Puts the payloads of one message's frames together, and keeps it within its limits.

    Every limit is checked before what passes it is kept, and text as it comes, so that a message
    fails as early as it can. A compressed one is inflated when it is whole, and not before: so a
    peer has to send what it makes us hold.

    Args:
        text: Whether it is text.
        compression: Inflates it; None where it is not compressed.
        limits: What a message may have.
    """

    __slots__ = (
        "_compression",
        "_declared",
        "_decoder",
        "_fragments",
        "_limits",
        "_pieces",
        "_size",
        "_text",
    )

    def __init__(self, text: bool, compression: Compression | None, limits: Limits) -> None:
        self._compression = compression
        self._decoder: IncrementalDecoder | None = None
        if text and compression is None:
            self._decoder = _utf8()
        self._limits = limits
        self._text = text
        self._declared = 0  # bytes that its frames have declared
        self._fragments = 0
        self._pieces: list[bytes] = []
        self._size = 0  # bytes of the pieces

    def admit(self, length: int) -> None:
        """Count a frame of a length before anything of it is kept.

        Raises:
            MessageTooBig: The message is longer than the limit with it.
            TooManyFragments: It is one too many.
        """
        self._declared += length
        self._fragments += 1
        limit = self._limits.message
        if self._declared > (limit if self._compression is None else longest_deflated(limit)):
            raise MessageTooBig(self._declared, limit)
        if self._fragments > self._limits.fragments:
            raise TooManyFragments(self._limits.fragments)

    def add(self, piece: bytes, final: bool) -> None:
        """Add a piece of a payload, unmasked; ``final`` when it is the last of the message.

        Raises:
            InvalidPayload: The text is not UTF-8, as far as that is seen before it is inflated.
        """
        if self._decoder is not None:
            try:
                self._decoder.decode(piece, final)
            except UnicodeDecodeError as error:
                raise InvalidPayload("text that is not UTF-8") from error
        self._size += len(piece)
        self._pieces.append(piece)
        if are_many(self._pieces, self._size):
            self._pieces = [b"".join(self._pieces)]

    def finish(self) -> Message:
        """The message, once its final piece was added.

        Raises:
            MessageTooBig: It inflates to more than the limit.
            InvalidPayload: It cannot be inflated, or the text is not UTF-8.
        """
        payload = b"".join(self._pieces)
        if self._compression is not None:
            return inflate(self._compression, payload, self._text, self._limits.message)
        return payload.decode() if self._text else payload


def inflate(compression: Compression, payload: bytes, text: bool, limit: int) -> Message:
    """The message that a payload stands for.

    Raises:
        MessageTooBig: It is longer than the limit.
        InvalidPayload: It cannot be inflated, or the text is not UTF-8, up to the limit at least.
    """
    payload = compression.inflate(payload, limit)
    too_big = len(payload) > limit
    if not text and not too_big:
        return payload
    try:
        if not too_big:
            return payload.decode()
        if text:
            _utf8().decode(payload)  # how its last character goes on is not known
    except UnicodeDecodeError as error:
        raise InvalidPayload("text that is not UTF-8") from error
    raise MessageTooBig(len(payload), limit)


def longest_deflated(size: int) -> int:
    """How long a message of ``size`` bytes may be once deflated.

    What cannot be compressed grows: by a 32nd and a little with the smallest buffers that zlib has.
    """
    return size + (size >> 4) + 64
