"""Brokers for tests, which are skipped without them; those slow to start are shared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest
import trustme
from attrs import frozen

from benchmark.brokers.nats import NatsServer, nats_server
from benchmark.brokers.process import BrokerMissing, free_port
from benchmark.brokers.rabbitmq import RabbitMq, rabbitmq_server

_running = ExitStack()


@frozen
class SharedRabbitMq:
    """RabbitMQ with TLS too.

    Attributes:
        broker: The broker.
        secure_url: Where it asks clients for a certificate; without options.
        ca, cert: PEM files: who vouches for it, and what a client may show.
    """

    broker: RabbitMq
    secure_url: str
    ca: Path
    cert: Path


@cache
def shared_rabbitmq() -> SharedRabbitMq:
    """One for all tests of this process, started by the first who asks."""
    directory = Path(_running.enter_context(tempfile.TemporaryDirectory(prefix="rabbitmq-tls-")))
    ca, server, client = (directory / name for name in ("ca.pem", "server.pem", "client.pem"))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca))
    for path, name in (server, "127.0.0.1"), (client, "client@example.org"):
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
    port = free_port()
    settings = {
        "listeners.ssl.default": f"127.0.0.1:{port}",
        "ssl_options.cacertfile": str(ca),
        "ssl_options.certfile": str(server),
        "ssl_options.keyfile": str(server),
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "true",
    }
    broker = _running.enter_context(required_rabbitmq(settings))
    return SharedRabbitMq(broker, f"amqps://guest:guest@127.0.0.1:{port}", ca, client)


@contextmanager
def breakable_rabbitmq() -> Iterator[SharedRabbitMq]:
    """The shared one; it runs again after the block, whatever is done to it there."""
    shared = shared_rabbitmq()
    try:
        yield shared
    finally:
        shared.broker.process.thaw()
        if not shared.broker.process.ready():
            shared.broker.process.start()


@contextmanager
def required_rabbitmq(settings: dict[str, str] | None = None) -> Iterator[RabbitMq]:
    """RabbitMQ for the length of the block; the test is skipped where it is missing."""
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(rabbitmq_server(settings))
        except BrokerMissing as missing:
            pytest.skip(str(missing))
        yield broker


@contextmanager
def required_nats(*, jetstream: bool = False, configuration: str = "") -> Iterator[NatsServer]:
    """A NATS server for the length of the block; the test is skipped where it is missing."""
    with ExitStack() as stack:
        try:
            server = nats_server(jetstream=jetstream, configuration=configuration)
            broker = stack.enter_context(server)
        except BrokerMissing as missing:
            pytest.skip(str(missing))
        yield broker


def end_shared_brokers() -> None:
    """End all of them."""
    _running.close()
    shared_rabbitmq.cache_clear()
