"""Mistakes that a user makes: a clear error, and nothing else harmed."""

from __future__ import annotations

import math
import socket
import threading
import time
from typing import Any

import pytest

from foreman import Foreman
from netserver import Connection, Listener, Reject, Server, ServerConfig, SlowReader, events
from netwire import Limits, Message, UrlError

PATIENCE = 30.0


class Echo(Connection):
    def on_message(self, message: Message) -> None:
        self.send(message)


def dial(listener: Listener) -> socket.socket:
    return socket.create_connection(("127.0.0.1", listener.port), PATIENCE)


def test_forgetting_to_call_the_base_class(caplog: pytest.LogCaptureFixture) -> None:
    class Forgetful(Connection):
        def __init__(self) -> None:
            self.database = 1

    class Slotless(Forgetful):
        pass

    with Server() as server:
        listener = server.listen("tcp://127.0.0.1:0", Slotless)
        good = server.listen("tcp://127.0.0.1:0", Echo)
        with dial(listener) as sock:
            assert sock.recv(1) == b""
        with dial(good) as sock:
            sock.sendall(b"12hi")
            assert sock.recv(4) == b"12hi"
        assert server.statistics().events["failed"] == 1
    assert "Slotless.__init__ must call super().__init__()" in caplog.text


def test_a_transform_that_raises_what_it_should_not() -> None:
    class Broken:
        def outgoing(self, message: Message) -> Message:
            return message

        def incoming(self, message: Message) -> Message:
            raise KeyError("as the test wants")

    errors: list[BaseException] = []

    class Sensitive(Echo):
        def on_error(self, error: BaseException) -> None:
            errors.append(error)

    with Server() as server:
        listener = server.listen("tcp://127.0.0.1:0", Sensitive, transform=Broken)
        with dial(listener) as sock:
            sock.sendall(b"12hi")
            assert sock.recv(1) == b""
    assert [type(error) for error in errors] == [KeyError]
    assert server.statistics().events["failed"] == 1


def test_a_broadcast_without_end_from_a_handler() -> None:
    """A reader that does not read is cut at the limit, whoever sends."""
    accepted: list[int] = []
    cut = threading.Event()

    class Loud(Connection):
        def on_open(self) -> None:
            self.join("all")

        def on_message(self, message: Message) -> None:
            accepted.extend(
                self.server.broadcast(bytes(1024 * 1024), group="all") for _ in range(64)
            )

        def on_close(self, code: int, reason: str) -> None:
            assert code == 1008
            cut.set()

    with Server() as server:
        listener = server.listen("tcp://127.0.0.1:0", Loud)
        with dial(listener) as sock:
            sock.sendall(b"11x")
            assert cut.wait(PATIENCE)
    assert 1 <= sum(accepted) < 32


def test_the_last_words_reach_a_peer_that_is_still_sending() -> None:
    class Leaving(Connection):
        def on_message(self, message: Message) -> None:
            self.send(b"goodbye")
            self.close()

    with Server() as server:
        listener = server.listen("tcp://127.0.0.1:0", Leaving)
        for _ in range(20):
            with dial(listener) as sock:
                sock.sendall(b"11x")
                for _ in range(50):
                    sock.sendall(b"11y" * 100)
                sock.shutdown(socket.SHUT_WR)
                received = b""
                while piece := sock.recv(4096):
                    received += piece
                assert received == b"17goodbye"


@pytest.mark.parametrize("name", ["close", "drain"])
def test_ending_the_server_from_a_callback(name: str) -> None:
    errors: list[BaseException] = []
    told = threading.Event()

    class Ender(Connection):
        def on_message(self, message: Message) -> None:
            getattr(self.server, name)()

        def on_error(self, error: BaseException) -> None:
            errors.append(error)
            told.set()

    with Server() as server:
        listener = server.listen("tcp://127.0.0.1:0", Ender)
        with dial(listener) as sock:
            sock.sendall(b"11x")
            assert told.wait(PATIENCE)
    assert f"Server.{name}() cannot wait for the callback" in str(errors[0])


def test_a_handler_that_never_returns_does_not_hold_up_the_end() -> None:
    """The grace, and a little for the last words; its node is left to end with the process."""
    entered, leave = threading.Event(), threading.Event()

    class Endless(Connection):
        def on_message(self, message: Message) -> None:
            entered.set()
            assert leave.wait(PATIENCE)

    server = Server(config=ServerConfig(grace=0.2))
    listener = server.listen("tcp://127.0.0.1:0", Endless)
    server.start()
    nodes = server.foreman.nodes
    with dial(listener) as sock:
        sock.sendall(b"11x")
        assert entered.wait(PATIENCE)
        began = time.monotonic()
        assert not server.drain()
        server.close()
        assert time.monotonic() - began < PATIENCE / 3  # against hanging; it takes about two
        leave.set()
    for node in nodes:
        assert node.stop(PATIENCE)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"tls": "cert.pem"}, TypeError, "ssl.SSLContext"),
        ({"transform": object()}, TypeError, "makes a Transform"),
    ],
)
def test_options_that_are_none(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with Server() as server, pytest.raises(error, match=text):
        server.listen("tls://127.0.0.1:0" if "tls" in options else "tcp://[::1]:0", Echo, **options)


def test_a_latency_assigned_to_a_class_that_exists() -> None:
    class Late(Echo):
        pass

    Late.required_latency = 0.25
    text = r"Late.required_latency .* in the class body"
    with Server() as server, pytest.raises(TypeError, match=text):
        server.listen("tcp://127.0.0.1:0", Late)


def test_a_path_to_listen_on() -> None:
    with Server() as server, pytest.raises(UrlError, match="a listener serves every one"):
        server.listen("ws://127.0.0.1:0/chat", Echo)


def test_a_connection_that_no_server_made() -> None:
    with pytest.raises(AttributeError, match="Echo was not made by a server"):
        Echo().send(b"x")


def test_a_refusal_without_a_status() -> None:
    with pytest.raises(ValueError, match="a status of 400 to 599, not 'go away'"):
        Reject("go away")  # type: ignore[arg-type]


def test_events_of_a_listener_too() -> None:
    moved: list[object] = []
    told = threading.Event()

    def hear(worker: object, event: object) -> None:
        if isinstance(event, events.Moved):
            moved.append(worker)
            told.set()

    with Server(on_event=hear) as server:
        listener = server.listen("tcp://127.0.0.1:0", Echo)
        assert server.foreman.move(listener, server.foreman.spawn()).result(PATIENCE)
        assert told.wait(PATIENCE)
        with dial(listener) as sock:
            sock.sendall(b"12hi")
            assert sock.recv(4) == b"12hi"
    assert moved == [listener]


def test_a_connection_is_not_added_by_hand() -> None:
    with Foreman() as foreman:
        with pytest.raises(TypeError, match="the server makes them"):
            foreman.add(Echo())
        assert foreman.statistics().workers == 0


def test_what_a_server_cannot_be_made_with() -> None:
    wrong: Any = {"limit": 5}
    with pytest.raises(TypeError, match=r"config is a ServerConfig, not {.limit.: 5}"):
        Server(config=wrong)
    with pytest.raises(TypeError, match=r"foreman is a Foreman, not {.limit.: 5}"):
        Server(foreman=wrong)
    with Server() as server, pytest.raises(TypeError, match=r"a URL is a str.*not {'limit': 5}"):
        server.listen(wrong, Echo)


def test_a_ping_that_is_too_long_is_told_to_the_caller_in_any_thread() -> None:
    with Server() as server, dial(server.listen("tcp://127.0.0.1:0", Echo)) as sock:
        sock.sendall(b"12hi")
        assert sock.recv(4) == b"12hi"
        (connection,) = server.connections
        with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
            connection.ping(bytes(126))
        sock.sendall(b"12hi")
        assert sock.recv(4) == b"12hi"


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (ServerConfig, {"limits": 5}, "limits is a Limits, not 5"),
        (ServerConfig, {"ping_interval": "20"}, "ping_interval is a number, not '20'"),
        (ServerConfig, {"ping_interval": 0}, "ping_interval must be more than 0, not 0"),
        (ServerConfig, {"grace": math.inf}, "grace must be finite"),
        (ServerConfig, {"grace": math.nan}, "grace must be more than 0, not nan"),
        (ServerConfig, {"grace": None}, "grace is a number, not None"),
        (ServerConfig, {"send_limit": 1.5}, "send_limit is a whole number, not 1.5"),
        (ServerConfig, {"send_limit": True}, "send_limit is a whole number, not True"),
        (ServerConfig, {"max_connections": -1}, "max_connections must be more than 0, not -1"),
        (Limits, {"message": 0}, "message must be more than 0, not 0"),
        (SlowReader, {"max_age": "1"}, "max_age is a number, not '1'"),
        (SlowReader, {"policy": "no"}, "policy is one of 'close', .*, not 'no'"),
        (SlowReader, {"close_code": 1000}, "close_code is one of 1008, 1013, not 1000"),
    ],
)
def test_an_option_that_cannot_be(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}$"):
        make(**options)
