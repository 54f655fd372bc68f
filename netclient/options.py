"""The options that both clients take; `netclient.Client` tells what each means."""

from __future__ import annotations

import ssl
from typing import TypedDict

from netclient.dispatcher import Callback
from netwire import Backoff, Deflate, Framing, Limits, TransformFactory


class Options(TypedDict, total=False):
    """The keyword arguments of `netclient.Client`."""

    reconnect: Backoff | None
    tls: ssl.SSLContext | None
    framing: type[Framing] | str | None
    transform: TransformFactory | None
    compression: Deflate | None
    limits: Limits
    headers: tuple[tuple[str, str], ...]
    subprotocols: tuple[str, ...]
    origin: str | None
    open_timeout: float
    close_timeout: float
    send_timeout: float
    ping_interval: float | None
    ping_timeout: float
    receive_queue: int
    send_queue: int
    on_open: Callback | None
    on_message: Callback | None
    on_close: Callback | None
    on_state: Callback | None
