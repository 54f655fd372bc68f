"""What connects the servers under test: the libraries, and real brokers started for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from itertools import count

from attrs import field, frozen

from benchmark.brokers.nats import nats_server
from benchmark.brokers.process import BrokerMissing, free_port
from benchmark.brokers.rabbitmq import rabbitmq_server
from benchmark.errors import BenchmarkError


@frozen(kw_only=True)
class Fabric:
    """A backplane that runs.

    Args:
        name: What options and reports call it.
        bare: What the bare library's programs are told of it.
        pid: The broker's process, whose memory can be looked at; None where there is none.
        join: URLs for so many servers that are to find each other, and nobody else.
    """

    name: str
    bare: Callable[[], str]
    pid: int | None
    join: Callable[[int], list[str]]


@frozen(kw_only=True)
class Backplane:
    """A kind of backplane.

    Args:
        name: What options and reports call it: the URL's scheme.
        modules: What must be installed, by the name to import and the name to install.
        library: What the bare library is called.
        run: Starts its broker, where it has one, for the length of a block.
    """

    name: str
    modules: dict[str, str] = field(repr=False)
    library: str
    run: Callable[[], AbstractContextManager[Fabric]] = field(repr=False)

    def obstacle(self) -> str | None:
        """Which library is missing, or None. Whether there is a broker shows when it is run."""
        for module, package in self.modules.items():
            if find_spec(module) is None:
                return f"{self.name}: {package} is not installed: pip install {package!r}"
        return None


@contextmanager
def _zmq() -> Iterator[Fabric]:
    def join(servers: int) -> list[str]:
        port = free_port()
        others = [f"zmq://127.0.0.1:0?seeds=127.0.0.1:{port}"] * (servers - 1)
        return [f"zmq://127.0.0.1:{port}", *others]

    def bare() -> str:
        return f"{free_port()},{free_port()}"

    yield Fabric(name="zmq", bare=bare, pid=None, join=join)


@contextmanager
def _amqp() -> Iterator[Fabric]:
    numbers = count()
    with rabbitmq_server() as broker:
        yield Fabric(
            name="amqp",
            bare=lambda: broker.url,
            pid=broker.process.pid,
            join=lambda servers: [f"{broker.url}?exchange=benchmark-{next(numbers)}"] * servers,
        )


@contextmanager
def _nats() -> Iterator[Fabric]:
    with nats_server() as broker:
        # The servers of one measurement have gone when the next one's come.
        yield Fabric(
            name="nats",
            bare=lambda: broker.url,
            pid=broker.process.pid,
            join=lambda servers: [broker.url] * servers,
        )


BACKPLANES = {
    each.name: each
    for each in (
        Backplane(name="zmq", modules={"zmq": "pyzmq"}, library="pyzmq", run=_zmq),
        Backplane(
            name="amqp",
            modules={"pamqp": "pamqp", "aio_pika": "aio-pika"},
            library="aio-pika",
            run=_amqp,
        ),
        Backplane(name="nats", modules={"nats": "nats-py"}, library="nats-py", run=_nats),
    )
}


def choose(names: str | None) -> tuple[list[Backplane], list[str]]:
    """The backplanes asked for, and why any of all is left out.

    Args:
        names: With commas between them; None for all.

    Raises:
        BenchmarkError: There is none of that name, or its library is not installed.
    """
    found, skipped = [], []
    for name in BACKPLANES if names is None else dict.fromkeys(names.split(",")):
        backplane = BACKPLANES.get(name.strip())
        if backplane is None:
            raise BenchmarkError(f"there is no backplane {name!r}, only {', '.join(BACKPLANES)}")
        obstacle = backplane.obstacle()
        if obstacle is None:
            found.append(backplane)
        elif names is None:
            skipped.append(f"skipped: {obstacle}")
        else:
            raise BenchmarkError(obstacle)
    return found, skipped


def broker_missing(backplane: Backplane, error: BrokerMissing) -> str:
    """Why a backplane is left out, where its broker is not there."""
    return f"skipped: {backplane.name}: {error}"
