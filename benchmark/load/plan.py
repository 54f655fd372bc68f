"""What the closed loop is asked to do and what it answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen, validators

from benchmark.histogram import Histogram

TRANSPORTS = ("ws", "wss", "tcp", "tls", "unix", "ws+unix")


def positive(_plan: object, attribute: Attribute[Any], value: float) -> None:
    """Validate that a number is more than 0."""
    if value <= 0:
        raise ValueError(f"{attribute.name} must be more than 0, not {value!r}")


def known_transport(_plan: object, _attribute: Attribute[str], url: str) -> None:
    """Validate that a URL has one of `TRANSPORTS`."""
    if urlsplit(url).scheme not in TRANSPORTS:
        raise ValueError(f"{url!r} is none of {', '.join(TRANSPORTS)}")


@frozen(kw_only=True)
class Plan:
    """One run of the closed loop.

    Args:
        url: Where the server listens.
        twin_url: Where each second connection is opened instead. What it sends is to come back on
            the connection before it, and the other way round; a URL's path is then the number of
            the connection. None for connections that all get back what they send.
        connections: How many to open; of handshakes, how many at a time.
        deflate: Whether messages are compressed text, by permessage-deflate.
        handshakes: Whether to open and close connections over and over, in place of messages.
        in_flight: Messages each connection keeps under way: a reply that comes back lets the
            next one go.
        size: Payload of a message, bytes.
        warmup: Seconds of the same load before measuring.
        seconds: Seconds of measuring.
        stall: Seconds a connection may owe us a reply without sending anything.
        certificate: PEM file of the authority to trust, where the URL asks for TLS.
        library: The compiled clients, able to do this, or None for the one in Python.
        server_pid: Whose CPU time to measure beside our own, or None.
    """

    url: str = field(validator=known_transport)
    twin_url: str | None = None
    connections: int = field(default=50, validator=positive)
    in_flight: int = field(default=1, validator=positive)
    size: int = field(default=128, validator=validators.ge(0))
    deflate: bool = False
    handshakes: bool = False
    warmup: float = field(default=1.0, validator=validators.ge(0))
    seconds: float = field(default=5.0, validator=positive)
    stall: float = field(default=5.0, validator=positive)
    certificate: str | None = None
    library: str | None = None
    server_pid: int | None = None

    @property
    def transport(self) -> str:
        """The URL's scheme."""
        return urlsplit(self.url).scheme

    @property
    def urls(self) -> list[str]:
        """Where each connection is opened."""
        if self.twin_url is None:
            return [self.url] * self.connections
        urls = (self.url, self.twin_url)
        return [f"{urls[number % 2]}/{number}" for number in range(self.connections)]


@frozen(kw_only=True)
class Result:
    """What one run of the load process measured.

    Args:
        client: Which client did it: ``c`` or ``python``.
        messages: Round trips that came back within `elapsed`, every byte of them compared, or
            handshakes that were done and closed again.
        elapsed: Seconds measured.
        client_cpu: CPU time of the load process over `elapsed`; at 1.0 it was the bottleneck.
        server_cpu: The same of the server's process, all its threads; None where unknown.
        buckets: The latencies, `Histogram.sparse`.
        maximum: The longest latency, nanoseconds.
        negotiated: What was agreed on about compression; None where there is none.
        other_cpu: CPU time of everything else on the machine, 1 for one CPU; None where unknown.
    """

    client: str
    messages: int
    elapsed: float
    client_cpu: float
    server_cpu: float | None
    buckets: list[tuple[int, int]]
    maximum: int
    negotiated: str | None = None
    other_cpu: float | None = None

    @property
    def histogram(self) -> Histogram:
        """The latencies, nanoseconds."""
        return Histogram.from_sparse(self.buckets, self.maximum)
