"""Brokers for tests, which are skipped without them; those slow to start are shared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import pytest

from benchmark.brokers.nats import NatsServer, nats_server
from benchmark.brokers.process import BrokerMissing
from benchmark.brokers.rabbitmq import RabbitMq, rabbitmq_server

_running = ExitStack()


@cache
def shared_rabbitmq() -> RabbitMq:
    """RabbitMQ, started by the first who asks; not to be stopped or frozen."""
    return _running.enter_context(required_rabbitmq())


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
