"""Every target, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

from fuzz.cluster import frames, peer
from fuzz.framings import framing, raw
from fuzz.handshakes import client_handshake, server_handshake
from fuzz.inflating import inflating
from fuzz.tls import tls
from fuzz.websockets import websocket

Target: TypeAlias = Callable[[bytes], None]
"""Tries one input, and raises what its reader may not raise, or `fuzz.errors.Broken`."""

TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "envelope": partial(framing, "envelope"),
        "length-prefix": partial(framing, "length-prefix"),
        "lines": partial(framing, "lines"),
        "raw": raw,
        "websocket-server": partial(websocket, False),
        "websocket-client": partial(websocket, True),
        "deflate-server": partial(inflating, False),
        "deflate-client": partial(inflating, True),
        "server-handshake": server_handshake,
        "client-handshake": client_handshake,
        "tls": tls,
        "cluster-frames": frames,
        "zmq-peer": peer,
    }
)
