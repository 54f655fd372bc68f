"""What a close frame says: a code and a reason (RFC 6455, sections 5.5.1 and 7.4)."""

from __future__ import annotations

NO_CODE = 1005
"""Reported where the peer's close frame has no code; never sent."""

MAX_REASON = 123
"""Bytes of a reason: a control frame's 125 less the code."""

# 1004 to 1006 and 1015 never go on the wire. 1014 is registered, but parsers in wide use, the
# one below us among them, take it for a protocol error.
_SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013})


def close_payload(code: int, reason: str) -> bytes:
    """The payload of a close frame that we begin.

    Raises:
        ValueError: The code may not be sent, or the reason is longer than 123 bytes as UTF-8.
    """
    if code not in _SENDABLE and not 3000 <= code <= 4999:
        raise ValueError(f"close code {code} may not be sent")
    encoded = reason.encode()
    if len(encoded) > MAX_REASON:
        raise ValueError(f"close reason of {len(encoded)} bytes is over {MAX_REASON}")
    return code.to_bytes(2) + encoded


def echo_payload(code: int) -> bytes:
    """The payload of the answer to a close frame: the peer's code, if it gave one."""
    return b"" if code == NO_CODE else code.to_bytes(2)
