"""permessage-deflate (RFC 7692) in the load: what is negotiated, and replies taken apart."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from attrs import frozen
from wsproto.extensions import Extension
from wsproto.frame_protocol import Opcode

from benchmark.load.client import Undecodable, WrongByte

TAIL = b"\x00\x00\xff\xff"  # RFC 7692, section 7.2.2
LEVEL = 6  # zlib's default, of our requests
_FIN, _RSV1, _MASKED = 0x80, 0x40, 0x80
MOST_CONTROL = 125  # bytes of a control frame's payload
PING = 0x89  # the first byte of a server's ping, which may stand between two frames


@frozen(kw_only=True)
class Negotiated:
    """What client and server agreed on.

    Args:
        answer: The extension as the server answered it.
        client_bits: The window of our requests, as a power of two.
        client_takeover: Whether our requests may refer to those before.
        server_takeover: Whether the replies may.
    """

    answer: str
    client_bits: int
    client_takeover: bool
    server_takeover: bool


class Offer(Extension):
    """The offer that browsers make; it does nothing to frames, which the load builds by itself.

    Attributes:
        negotiated: What the server answered, or None.
    """

    name = "permessage-deflate"

    def __init__(self) -> None:
        self.negotiated: Negotiated | None = None

    def offer(self) -> str:
        return "client_max_window_bits"

    def finalize(self, offer: str) -> None:
        found = {}
        for parameter in offer.split(";")[1:]:
            name, _, value = parameter.strip().partition("=")
            found[name] = value.strip('"')
        self.negotiated = Negotiated(
            answer=offer.strip(),
            client_bits=int(found.get("client_max_window_bits") or 15),
            client_takeover="client_no_context_takeover" not in found,
            server_takeover="server_no_context_takeover" not in found,
        )


def compress_all(payloads: list[bytes], negotiated: Negotiated) -> list[bytes]:
    """Compress messages one after the other, the first of which refers to nothing before.

    So the messages may be sent again from the first one on, in the same context.
    """
    made, deflater = [], None
    for payload in payloads:
        if deflater is None or not negotiated.client_takeover:
            deflater = zlib.compressobj(LEVEL, wbits=-max(9, negotiated.client_bits))
        data = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
        made.append(data.removesuffix(TAIL))
    return made


class Inflater:
    """Takes replies apart, as `wire_unpack` of wire.h does.

    Args:
        takeover: Whether replies may refer to those before.
        size: Payload of each, bytes.
    """

    def __init__(self, takeover: bool, size: int) -> None:
        self._takeover = takeover
        self._size = size
        self._buffer = bytearray()
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._message: bytearray | None = None
        self._compressed = False

    def receive(self, data: bytes | memoryview) -> Iterator[bytes]:
        """The payloads of the messages that are whole now, inflated.

        Raises:
            WrongByte: A frame is none that may come here.
            Undecodable: A message cannot be inflated, or has another size.
        """
        self._buffer += data
        while (frame := self._next_frame()) is not None:
            first, payload = frame
            if first == PING:
                continue
            if self._message is None:
                self._message, self._compressed = bytearray(), bool(first & _RSV1)
            self._message += payload
            if first & _FIN:
                message, self._message = bytes(self._message), None
                if self._compressed:
                    message = self._inflate(message)
                if len(message) != self._size:
                    raise Undecodable
                yield message

    def _next_frame(self) -> tuple[int, bytes] | None:
        """A frame's first byte, and its payload."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        byte, length, begin = buffer[0], buffer[1], 2
        begins = self._message is None
        expected = byte & _FIN | ((byte & _RSV1) | Opcode.TEXT if begins else 0)
        if byte not in (expected, PING):
            raise WrongByte(0, expected, byte)
        if length & _MASKED:
            raise WrongByte(1, length & ~_MASKED, length)
        if byte == PING and length > MOST_CONTROL:
            raise WrongByte(1, MOST_CONTROL, length)
        if length > 125:
            begin += 2 if length == 126 else 8
            length = int.from_bytes(buffer[2:begin], "big")
        if len(buffer) < begin + length:
            return None
        payload = bytes(buffer[begin : begin + length])
        del buffer[: begin + length]
        return byte, payload

    def _inflate(self, data: bytes) -> bytes:
        try:
            message = self._inflater.decompress(data + TAIL, self._size + 1)
        except zlib.error:
            raise Undecodable from None
        if not self._takeover:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        return message
