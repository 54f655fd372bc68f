"""The engines that the contract suite is run on, each with its own real broker."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from attrs import frozen

from tests.netserver.backplane.brokers import shared_rabbitmq

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
def amqp() -> Iterator[SameUrl]:
    yield SameUrl(f"{shared_rabbitmq().url}?exchange=contract-{next(_names)}")


ENGINES: dict[str, Callable[[], AbstractContextManager[SameUrl]]] = {
    "memory": memory,
    "amqp": amqp,
}
