"""The engines that the contract suite is run on, each with its own real broker."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from attrs import define, frozen

from benchmark.brokers.process import free_port
from tests.netserver.backplane.brokers import required_nats, shared_rabbitmq

_names = itertools.count()


@frozen
class SameUrl:
    """All servers are told the same."""

    address: str

    def url(self) -> str:
        return self.address


@contextmanager
def memory() -> Iterator[SameUrl]:
    yield SameUrl(f"memory://contract-{next(_names)}")


@contextmanager
def nats() -> Iterator[SameUrl]:
    with required_nats(jetstream=True) as server:
        yield SameUrl(server.url)


@contextmanager
def amqp() -> Iterator[SameUrl]:
    yield SameUrl(f"{shared_rabbitmq().broker.url}?exchange=contract-{next(_names)}")


@define
class Seeded:
    """The first server is the one that all others are told of."""

    port: int
    joined: bool = False

    def url(self) -> str:
        if self.joined:
            return f"zmq://127.0.0.1:0?seeds=127.0.0.1:{self.port}"
        self.joined = True
        return f"zmq://127.0.0.1:{self.port}"


@contextmanager
def zeromq() -> Iterator[Seeded]:
    yield Seeded(free_port())


class Joining(Protocol):
    """One engine under test, its broker running."""

    def url(self) -> str:
        """The URL by which one more server joins the others."""
        ...


ENGINES: dict[str, Callable[[], AbstractContextManager[Joining]]] = {
    "memory": memory,
    "amqp": amqp,
    "zmq": zeromq,
    "nats": nats,
}
