"""permessage-deflate: what we want of it, and what both ends agree on (RFC 7692, section 7.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen, validators

NAME = "permessage-deflate"

_SERVER_CONTEXT = "server_no_context_takeover"
_CLIENT_CONTEXT = "client_no_context_takeover"
_SERVER_BITS = "server_max_window_bits"
_CLIENT_BITS = "client_max_window_bits"
_MOST_BITS = 15

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_TOKEN})(?:[ \t]*=[ \t]*(?:({_TOKEN})|"({_TOKEN})"))?')
_BITS = re.compile("[89]|1[0-5]")


def _between(least: int, most: int) -> Any:
    return validators.and_(validators.instance_of(int), validators.ge(least), validators.le(most))


@frozen(kw_only=True)
class Deflate:
    """Compression of WebSocket messages (RFC 7692), as far as the other end agrees.

    Off unless asked for: a message of 1 KiB costs about 15 microseconds more to send and 3 to
    receive (with the extra ``speed`` about 5 and 2), and holds its node for as long.

    Without context taken over each message is compressed by itself. That holds no memory between
    messages, and a broadcast is compressed once. With it, small messages that resemble each other
    shrink further (1 KiB of JSON to 0.28 instead of 0.36); but each connection then keeps about
    22 KiB to send and 5 to receive (with ``speed`` 50 and 3; with the largest windows and memory
    level 8 about 95 and 12, or 130 and 10), and a broadcast is compressed for each.

    Args:
        level: From 1, the quickest, to 9, the smallest.
        memory_level: From 1 to 9: the more, the quicker and the larger (RFC 1951 leaves it open;
            see zlib's ``deflateInit2``).
        server_window_bits: What a server's messages are compressed within, from 9 (512 bytes) to
            15 (32 KiB). The other end's wish counts where it is less.
        client_window_bits: The same for a client's messages; as a server, a wish where the client
            understands it.
        server_context: Whether a server's messages may refer to earlier ones.
        client_context: Whether a client's messages may.
        threshold: Messages of fewer bytes are sent as they are.
    """

    level: int = field(default=1, validator=_between(1, 9))
    memory_level: int = field(default=5, validator=_between(1, 9))
    server_window_bits: int = field(default=12, validator=_between(9, _MOST_BITS))
    client_window_bits: int = field(default=12, validator=_between(9, _MOST_BITS))
    server_context: bool = field(default=False, validator=validators.instance_of(bool))
    client_context: bool = field(default=False, validator=validators.instance_of(bool))
    threshold: int = field(default=128, validator=_between(1, 1 << 62))


@frozen
class Agreement:
    """What both ends hold to: window bits, and whether context is taken over, of each side."""

    server_bits: int
    client_bits: int
    server_context: bool
    client_context: bool


def offer(wanted: Deflate) -> str:
    """What a client asks for.

    Windows matter only where context is kept: otherwise nothing is said of them, for the sake of
    servers that know little of the extension.
    """
    said = [NAME]
    if not wanted.server_context:
        said.append(_SERVER_CONTEXT)
    elif wanted.server_window_bits < _MOST_BITS:
        said.append(f"{_SERVER_BITS}={wanted.server_window_bits}")
    if not wanted.client_context:
        said.append(_CLIENT_CONTEXT)
    said.append(_CLIENT_BITS)
    return "; ".join(said)


def agree(offers: Sequence[str], wanted: Deflate) -> tuple[Agreement, str] | None:
    """What a server makes of a client's offers: the first that can be kept, and the answer.

    None when there is none: those for other extensions, and malformed ones, are declined.
    """
    for offered in offers:
        asked = _parameters(offered, bare_bits=True)
        if asked is not None:
            return _accept(asked, wanted)
    return None


def _accept(asked: dict[str, int | None], wanted: Deflate) -> tuple[Agreement, str]:
    server_context = wanted.server_context and _SERVER_CONTEXT not in asked
    client_context = wanted.client_context and _CLIENT_CONTEXT not in asked
    server_bits = min(asked.get(_SERVER_BITS) or _MOST_BITS, wanted.server_window_bits)
    client_bits = _MOST_BITS
    said = [NAME]
    if not server_context:
        said.append(_SERVER_CONTEXT)
    if not client_context:
        said.append(_CLIENT_CONTEXT)
    if _SERVER_BITS in asked or (server_context and server_bits < _MOST_BITS):
        said.append(f"{_SERVER_BITS}={server_bits}")
    if _CLIENT_BITS in asked and client_context and wanted.client_window_bits < _MOST_BITS:
        client_bits = min(asked[_CLIENT_BITS] or _MOST_BITS, wanted.client_window_bits)
        said.append(f"{_CLIENT_BITS}={client_bits}")
    return Agreement(server_bits, client_bits, server_context, client_context), "; ".join(said)


def confirm(answered: Sequence[str], wanted: Deflate) -> Agreement:
    """What a client makes of the server's answer to its `offer`.

    Raises:
        ValueError: It is no answer to it.
    """
    given = _parameters(answered[0], bare_bits=False) if len(answered) == 1 else None
    if given is None:
        raise ValueError("the server's answer to permessage-deflate is malformed")
    if not wanted.server_context and _SERVER_CONTEXT not in given:
        raise ValueError("the server would take over the context of its messages")
    server_bits = given.get(_SERVER_BITS) or _MOST_BITS
    if wanted.server_context and server_bits > wanted.server_window_bits:
        raise ValueError("the server would use a larger window than it was asked to")
    return Agreement(
        server_bits,
        min(given.get(_CLIENT_BITS) or _MOST_BITS, wanted.client_window_bits),
        wanted.server_context and _SERVER_CONTEXT not in given,
        wanted.client_context and _CLIENT_CONTEXT not in given,
    )


def _parameters(element: str, bare_bits: bool) -> dict[str, int | None] | None:
    """The parameters of one element of Sec-WebSocket-Extensions.

    Args:
        element: A name and its parameters.
        bare_bits: Whether `_CLIENT_BITS` may come without a value, as it may in an offer.

    Returns:
        Window bits by name, and None for what has no value. None for all when this is another
        extension, or anything is malformed, unknown, out of range, or there twice.
    """
    name, *parts = (part.strip(" \t") for part in element.split(";"))
    if name != NAME:
        return None
    found: dict[str, int | None] = {}
    for part in parts:
        match = _PARAMETER.fullmatch(part)
        if match is None or match[1] in found:
            return None
        value = match[2] or match[3]
        if match[1] in (_SERVER_CONTEXT, _CLIENT_CONTEXT):
            valid = value is None
        elif match[1] == _CLIENT_BITS and value is None:
            valid = bare_bits
        else:
            valid = match[1] in (_SERVER_BITS, _CLIENT_BITS) and bool(_BITS.fullmatch(value or ""))
        if not valid:
            return None
        found[match[1]] = None if value is None else int(value)
    return found
