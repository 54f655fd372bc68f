"""Accepting: addresses, Unix sockets left behind, limits, and no descriptors."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from netserver import Connection, ListenError, Server, ServerConfig


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


def served(site: Any, listener: Any) -> bool:
    with site.dial(listener, b"12hi") as sock:
        return bool(sock.recv(10) == b"12hi")


class TestAddresses:
    def test_a_port_in_use_before_the_start(self) -> None:
        server = Server()
        first = server.listen("tcp://127.0.0.1:0", Echo)
        with pytest.raises(ListenError, match="in use"):
            server.listen(f"ws://127.0.0.1:{first.port}", Echo)
        server.close()

    @pytest.mark.parametrize(
        "host", ["no-such-host.invalid", "a..b", "x" * 70 + ".invalid", "192.0.2.1"]
    )
    def test_a_host_that_is_none_of_ours(self, site: Any, host: str) -> None:
        with pytest.raises(ListenError):
            site.server.listen(f"tcp://{host}:0", Echo)
        assert site.server.listeners == ()

    def test_a_name_with_several_addresses_shares_the_port(self, site: Any) -> None:
        listener = site.listen("tcp://localhost:0", Echo)
        assert served(site, listener)
        for sock in listener._sockets:
            assert sock.getsockname()[1] == listener.port

    def test_ipv6(self, site: Any) -> None:
        if not socket.has_ipv6:
            pytest.skip("no IPv6 here")
        listener = site.listen("tcp://[::1]:0", Echo)
        sock, connection = site.open(listener)
        with sock:
            assert connection.local_address == ("::1", listener.port)
            assert connection.remote_address == ("::1", sock.getsockname()[1])

    def test_on_every_address_a_connection_tells_which_it_was_reached_at(self, site: Any) -> None:
        listener = site.listen("tcp://0.0.0.0:0", Echo)
        for host in ("127.0.0.1", "127.0.0.2"):
            with socket.create_connection((host, listener.port), timeout=10) as sock:
                sock.sendall(b"11x")
                assert sock.recv(3) == b"11x"
                (connection,) = (c for c in site.server.connections if c.local_address[0] == host)
                assert connection.local_address == (host, listener.port)
                assert connection.remote_address == sock.getsockname()

    def test_where_we_may_not(self, tmp_path: Path, as_nobody: Any) -> None:
        program = """
try:
    Server().listen("unix://" + sys.argv[1], Connection)
except ListenError as error:
    print(error.reason)
"""
        closed = tmp_path / "closed"
        closed.mkdir()
        closed.chmod(0o500)
        assert as_nobody(program, closed / "s") == "permission denied\n"


class TestUnixSockets:
    def test_it_is_removed_at_the_end_and_only_once(self, site: Any, tmp_path: Path) -> None:
        path = tmp_path / "s"
        listener = site.listen(f"unix://{path}", Echo)
        sock, connection = site.open(listener)
        with sock:
            assert connection.local_address == str(path)
            assert connection.remote_address is None
            assert listener.port is None
        listener.close()
        assert not path.exists()
        again = site.listen(f"unix://{path}", Echo)
        listener.close()
        assert served(site, again)

    def test_one_that_somebody_removed(self, site: Any, tmp_path: Path) -> None:
        path = tmp_path / "s"
        site.listen(f"unix://{path}", Echo)
        path.unlink()

    def test_a_stale_one_is_taken_over(self, site: Any, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert served(site, site.listen(f"unix://{path}", Echo))

    def test_one_in_use_is_left_alone(self, site: Any, tmp_path: Path) -> None:
        path = tmp_path / "s"
        listener = site.listen(f"unix://{path}", Echo)
        with pytest.raises(ListenError, match="in use"):
            site.server.listen(f"ws+unix://{path}", Echo)
        assert served(site, listener)

    def test_one_in_use_by_a_server_that_has_not_started(self, tmp_path: Path) -> None:
        first, second = Server(), Server()
        first.listen(f"unix://{tmp_path}/s", Echo)
        with pytest.raises(ListenError, match="in use"):
            second.listen(f"unix://{tmp_path}/s", Echo)
        first.close()
        second.close()

    @pytest.mark.parametrize("name", ["file", "no/such/place", "x" * 200])
    def test_what_is_no_place_for_one(self, site: Any, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").write_text("precious")
        with pytest.raises((ListenError, OSError)):
            site.server.listen(f"unix://{tmp_path}/{name}", Echo)
        assert (tmp_path / "file").read_text() == "precious"


class TestClosing:
    def test_connections_stay(self, site: Any) -> None:
        listener = site.listen("tcp://127.0.0.1:0", Echo)
        sock, _ = site.open(listener)
        with sock:
            listener.close()
            listener.close()
            with pytest.raises(ConnectionRefusedError):
                site.dial(listener)
            sock.sendall(b"12hi")
            assert sock.recv(10) == b"12hi"

    @pytest.mark.both_loops
    def test_from_a_callback_on_its_own_node(self, site: Any) -> None:
        closed = threading.Event()

        class Closing(Connection):
            def on_message(self, message: object) -> None:
                assert self.listener.node is self.node
                self.listener.close()
                closed.set()
                self.send(b"done")

        listener = site.listen("tcp://127.0.0.1:0", Closing)
        sock, connection = site.open(listener)
        with sock:
            assert site.foreman.move(connection, listener.node).result(10) is True
            sock.sendall(b"11x")
            assert sock.recv(10) == b"14done"

    @pytest.mark.both_loops
    def test_it_moves_and_goes_on(self, site: Any) -> None:
        listener = site.listen("tcp://127.0.0.1:0", Echo)
        for _ in range(3):
            assert site.foreman.move(listener, site.foreman.spawn()).result(10) is True
            assert served(site, listener)


@pytest.mark.parametrize("config", [ServerConfig(max_connections=2)], ids=["two"])
def test_a_full_server_lets_others_wait(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    listener = site.listen("tcp://127.0.0.1:0", Echo)
    one, _ = site.open(listener)
    two, _ = site.open(listener)
    three = site.dial(listener, b"12hi")
    three.settimeout(0.3)
    with pytest.raises(TimeoutError):
        three.recv(10)
    one.close()
    three.settimeout(10)
    assert three.recv(10) == b"12hi"
    two.close()
    three.close()
    assert len([r for r in caplog.records if "server is full" in r.getMessage()]) <= 2


def test_a_class_that_cannot_be_made(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Connection):
        def __init__(self) -> None:
            raise RuntimeError("as the test wants")

    failed = threading.Semaphore(0)
    listener = site.listen("tcp://127.0.0.1:0", Broken)
    listener.on_error = lambda error: failed.release()
    for _ in range(2):
        with site.dial(listener) as sock:
            assert sock.recv(1) == b""
        assert failed.acquire(timeout=30)
    assert listener.statistics().errors == 2
    assert "as the test wants" in caplog.text


STARVING = """
import json, logging, resource, sys, threading, time, socket, os
from netserver import Connection, Server, ServerConfig

class Echo(Connection):
    def on_message(self, message):
        self.send(message)

logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
with Server(config=ServerConfig(max_connections=10_000)) as server:
    listener = server.listen("tcp://127.0.0.1:0", Echo)
    print(listener.port, flush=True)
    sys.stdin.readline()
    hogs = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        while True:
            hogs.append(os.dup(0))
    except OSError:
        print("full", flush=True)
    sys.stdin.readline()
    began = time.process_time()
    time.sleep(1.5)
    print(json.dumps(time.process_time() - began), flush=True)
    for hog in hogs:
        os.close(hog)
    sys.stdin.readline()
"""


def test_no_descriptors_left() -> None:
    """It backs off, burns no time meanwhile, and serves those who waited."""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", STARVING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stdout.readline())

        def go_on() -> None:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

        go_on()
        assert process.stdout.readline() == "full\n"
        clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(5)]
        for client in clients:
            client.sendall(b"12hi")
        go_on()
        cpu = json.loads(process.stdout.readline())
        assert cpu < 0.75  # of the 1.5 s that it waited
        for client in clients:
            assert client.recv(10) == b"12hi"
            client.close()
        go_on()
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        complaints = [line for line in errors.splitlines() if "cannot accept" in line]
        assert 1 <= len(complaints) <= 4
        assert "Traceback" not in errors
        assert "ResourceWarning" not in errors
