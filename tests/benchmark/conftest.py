"""Echo servers of plain sockets, for the load clients to be tried on; what may be missing here."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from benchmark.load.library import compiled_library
from benchmark.servers import ServerKind

Answer = Callable[[socket.socket, bytes], None]
StartServer = Callable[[Answer], str]
Require = Callable[[ServerKind], None]


@pytest.fixture
def require() -> Require:
    """Skips the test where a server cannot be run."""

    def check(kind: ServerKind) -> None:
        reason = kind.obstacle(kind.transports[0])
        if reason is not None:
            pytest.skip(reason)

    return check


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts a TCP server that hands what it reads to a function, and tells its URL."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(answer: Answer) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve(connection: socket.socket) -> None:
            with connection:
                try:
                    while data := connection.recv(65536):
                        answer(connection, data)
                except OSError:
                    return  # the client under test hung up, as some of these tests provoke

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # the test is over
                thread = threading.Thread(target=serve, args=(connection,))
                threads.append(thread)
                thread.start()

        thread = threading.Thread(target=accept)
        threads.append(thread)
        thread.start()
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def library() -> str | None:
    """The compiled load client; None where it cannot be compiled."""
    library = compiled_library()
    if os.environ.get("FORBID_SKIPS") == "1":
        assert library is not None
        assert library.obstacle(tls=True, deflate=True) is None
    return None if library is None else str(library.path)
