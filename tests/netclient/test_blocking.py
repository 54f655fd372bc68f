"""The blocking client, used from plain threads."""

from __future__ import annotations

import gc
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from netclient import (
    Client,
    ClientState,
    ConnectFailed,
    ConnectionClosed,
    NotConnected,
    OperationTimeout,
    blocking,
)

Handler = Callable[[ServerConnection], None]
Serving = Callable[[Handler], AbstractContextManager[str]]


@pytest.fixture
def serving() -> Serving:
    """A ``websockets`` server on a thread of its own: ``with serving(handler) as url``."""

    @contextmanager
    def start(handler: Handler) -> Iterator[str]:
        with serve(handler, "127.0.0.1", 0) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
            finally:
                server.shutdown()
                thread.join()

    return start


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("netclient"):
            thread.join(10)
            assert not thread.is_alive(), thread


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def test_the_names_are_those_of_the_asyncio_client() -> None:
    def names(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert names(blocking.Client) == {*names(Client), "url"}


def test_a_whole_life(serving: Serving) -> None:
    with serving(echo) as url:
        client = blocking.Client(url)
        assert client.state.value == "idle"
        with pytest.raises(NotConnected, match="call connect"):
            client.send("early")
        with client:
            assert client.url == url
            client.send("hello")
            client.send(b"world")
            assert [client.recv(), client.recv(timeout=10)] == ["hello", b"world"]
            assert 0 < client.ping() < 10
            assert client.subprotocol is None
            with pytest.raises(OperationTimeout):
                client.recv(timeout=0.01)
            with pytest.raises(NotConnected, match="connects once"):
                client.connect()
            with pytest.raises(ValueError, match="may not be sent"):
                client.close(1006)
            assert client.state.value == "open"
        assert client.state is ClientState.CLOSED
        assert (client.close_code, client.close_reason) == (1000, "")
        client.close()
        client.wait_closed()
        assert list(client) == []
        with pytest.raises(ConnectionClosed):
            client.recv()


def test_iterating_until_the_server_closes(serving: Serving) -> None:
    def three(connection: ServerConnection) -> None:
        for word in ("one", "two", "three"):
            connection.send(word)

    with serving(three) as url, blocking.Client(url) as client:
        assert list(client) == ["one", "two", "three"]
        client.wait_closed()


def test_iterating_until_a_failure(serving: Serving) -> None:
    def broken(connection: ServerConnection) -> None:
        connection.send("one")
        connection.close(1008, "no")

    with serving(broken) as url, blocking.Client(url) as client:
        assert next(client) == "one"
        with pytest.raises(ConnectionClosed, match="1008: no"):
            next(client)


def test_connecting_fails_and_leaves_no_thread() -> None:
    client = blocking.Client("tcp://127.0.0.1:1")
    with pytest.raises(ConnectFailed):
        client.connect()
    assert client.state is ClientState.CLOSED
    with pytest.raises(NotConnected):
        client.connect()


def test_closing_before_connecting() -> None:
    client = blocking.Client("tcp://127.0.0.1:1")
    client.close()
    with pytest.raises(NotConnected):
        client.connect()


def test_many_threads_keep_each_senders_order(serving: Serving) -> None:
    threads, count = 8, 100

    def send_all(client: blocking.Client, sender: int) -> None:
        for number in range(count):
            client.send(f"{sender} {number}")

    with serving(echo) as url, blocking.Client(url) as client, ThreadPoolExecutor(threads) as pool:
        sending = [pool.submit(send_all, client, sender) for sender in range(threads)]
        received = [str(client.recv(timeout=20)) for _ in range(threads * count)]
        for future in sending:
            future.result()
    for sender in range(threads):
        own = [line for line in received if line.startswith(f"{sender} ")]
        assert own == [f"{sender} {number}" for number in range(count)]


def test_many_threads_receive(serving: Serving) -> None:
    def number(connection: ServerConnection) -> None:
        for value in range(200):
            connection.send(str(value))

    with serving(number) as url, blocking.Client(url) as client, ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(lambda _: list(client), range(4)))
    assert sorted(int(value) for share in shares for value in share) == list(range(200))


def test_closing_from_another_thread_ends_a_receive(serving: Serving) -> None:
    waiting = threading.Event()
    results: queue.Queue[object] = queue.Queue()

    def receive(client: blocking.Client) -> None:
        waiting.set()
        try:
            results.put(client.recv())
        except ConnectionClosed as error:
            results.put(error.code)

    with serving(echo) as url, blocking.Client(url) as client:
        threads = [threading.Thread(target=receive, args=(client,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        waiting.wait()
        client.close(4000)
        assert [results.get(timeout=10) for _ in threads] == [4000] * 3
        for thread in threads:
            thread.join()


def test_callbacks_may_call_everything(serving: Serving) -> None:
    seen: list[tuple[object, ...]] = []
    ended = threading.Event()
    threads = set()

    class Counter(blocking.Client):
        def on_open(self) -> None:
            threads.add(threading.current_thread())
            assert self.ping() > 0
            self.send("0")

        def on_message(self, message: bytes | str) -> None:
            threads.add(threading.current_thread())
            if message == "10":
                with pytest.raises(ValueError, match="may not be sent"):
                    self.close(1006)
                self.close(4000, "far enough")
            else:
                self.send(str(int(message) + 1))

        def on_close(self, code: int, reason: str) -> None:
            seen.append((code, reason))

        def on_state(self, old: ClientState, new: ClientState) -> None:
            if new is ClientState.CLOSED:
                ended.set()

    with serving(echo) as url:
        client = Counter(url)
        client.connect()
        assert ended.wait(10)
        client.close()
    assert seen == [(4000, "far enough")]
    assert len(threads) == 1
    assert threads != {threading.main_thread()}


def test_callbacks_are_plain_functions() -> None:
    async def on_message(message: bytes | str) -> None: ...

    with pytest.raises(TypeError, match="on_message of a blocking client is a plain function"):
        blocking.Client("tcp://127.0.0.1:1", on_message=on_message)


def test_unknown_options_are_refused() -> None:
    options: dict[str, Any] = {"colour": "green"}
    with pytest.raises(TypeError, match="colour"):
        blocking.Client("tcp://127.0.0.1:1", **options)


def test_ctrl_c_ends_a_receive_and_the_client_goes_on(serving: Serving) -> None:
    def interrupt(connection: ServerConnection) -> None:
        for message in connection:
            if message == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
            else:
                connection.send(message)

    with serving(interrupt) as url, blocking.Client(url) as client:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            client.send("interrupt")
            client.recv(timeout=20)
        client.send("still here")
        assert client.recv(timeout=20) == "still here"
