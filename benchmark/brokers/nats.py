"""A NATS server of our own on loopback."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define

from benchmark.brokers.process import BrokerProcess, find_program, free_port


@define(eq=False)
class NatsServer:
    """A NATS server, through several lives on one port and one store.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        directory: Its files; JetStream's store is in ``store``.
        process: To stop, kill, freeze and start it again.
    """

    port: int
    directory: Path
    process: BrokerProcess

    @property
    def url(self) -> str:
        """Where a client finds it, without TLS or credentials."""
        return f"nats://127.0.0.1:{self.port}"


@contextmanager
def nats_server(
    *, jetstream: bool = False, configuration: str = "", arguments: Sequence[str] = ()
) -> Iterator[NatsServer]:
    """Run a NATS server for the length of the block.

    Args:
        jetstream: Whether it keeps streams, in a directory that goes with the block.
        configuration: More of its configuration file: users, TLS, limits.
        arguments: More of its command line.

    Raises:
        BrokerMissing: nats-server is not installed.
        BenchmarkError: It does not start.
    """
    program = find_program("nats-server", "nats-server")
    with tempfile.TemporaryDirectory(prefix="nats-") as name:
        directory, port = Path(name), free_port()
        lines = [f"listen: 127.0.0.1:{port}", configuration]
        if jetstream:
            lines.append(f'jetstream {{ store_dir: "{directory / "store"}" }}')
        settings = directory / "nats.conf"
        settings.write_text("\n".join(lines) + "\n")
        process = BrokerProcess(
            name="nats-server",
            command=[program, "-c", str(settings), *arguments],
            log=directory / "log",
            ready=lambda: _greets(port),
        )
        try:
            process.start()
            yield NatsServer(port, directory, process)
        finally:
            process.stop()


def _greets(port: int) -> bool:
    """Whether it sends its INFO, as it does to anybody, when its streams are restored."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False
