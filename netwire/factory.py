"""The wire that a URL asks for."""

from __future__ import annotations

from netwire.errors import UrlError
from netwire.framing import FRAMINGS, Envelope, Framing
from netwire.limits import Limits
from netwire.url import Endpoint
from netwire.websocket import Deflate, WebSocketClient, WebSocketServer
from netwire.wire import TransformFactory, Wire


def server_wire(
    endpoint: Endpoint,
    *,
    limits: Limits = Limits(),
    framing: type[Framing] | str | None = None,
    transform: TransformFactory | None = None,
    compression: Deflate | None = None,
) -> Wire:
    """A new wire for a connection that was accepted.

    Args:
        endpoint: Where it was accepted.
        limits: What the peer may make us hold.
        framing: A framing, or the name of one (`netwire.framing.FRAMINGS`); None means envelopes.
            Not for WebSocket, which has frames of its own.
        transform: Makes the connection's own `Transform`; None leaves payloads alone.
        compression: How a WebSocket compresses, if the peer can; unused without one.

    Raises:
        UrlError: A framing was given for a WebSocket URL.
        ValueError: No framing has that name.
    """
    own_transform = None if transform is None else transform()
    if endpoint.websocket:
        _refuse_framing(endpoint, framing)
        return WebSocketServer(limits, transform=own_transform, compression=compression)
    return find_framing(framing)(limits, transform=own_transform)


def client_wire(
    endpoint: Endpoint,
    *,
    limits: Limits = Limits(),
    framing: type[Framing] | str | None = None,
    transform: TransformFactory | None = None,
    compression: Deflate | None = None,
    headers: tuple[tuple[str, str], ...] = (),
    subprotocols: tuple[str, ...] = (),
    origin: str | None = None,
) -> Wire:
    """A new wire for a connection that we made.

    Args:
        endpoint: Where we connected to.
        limits: What the peer may make us hold.
        framing: As for `server_wire`.
        transform, compression: As for `server_wire`.
        headers: Further header fields of the WebSocket handshake; unused without one.
        subprotocols: What to offer in it, best first; unused without one.
        origin: Its Origin header; None sends none.

    Raises:
        UrlError: A framing was given for a WebSocket URL.
        ValueError: No framing has that name, or a header cannot be sent.
    """
    own_transform = None if transform is None else transform()
    if endpoint.websocket:
        _refuse_framing(endpoint, framing)
        return WebSocketClient(
            endpoint.host_header,
            endpoint.target,
            limits=limits,
            headers=headers,
            subprotocols=subprotocols,
            origin=origin,
            transform=own_transform,
            compression=compression,
        )
    return find_framing(framing)(limits, transform=own_transform)


def find_framing(framing: type[Framing] | str | None) -> type[Framing]:
    """The framing meant: a class as it is, one of `FRAMINGS` by name, envelopes for None.

    Raises:
        ValueError: No framing has that name; the text lists those there are.
    """
    if framing is None:
        return Envelope
    if not isinstance(framing, str):
        return framing
    try:
        return FRAMINGS[framing]
    except KeyError:
        known = ", ".join(FRAMINGS)
        raise ValueError(f"no framing is named {framing!r}; there are {known}") from None


def _refuse_framing(endpoint: Endpoint, framing: type[Framing] | str | None) -> None:
    if framing is not None:
        raise UrlError(str(endpoint), "is WebSocket, which has frames of its own: no framing=")
