"""A server whose every connection is watched, and what every test must leave behind: nothing.

Each test that asks for ``site`` ends with the same checks: exactly one `on_close` for every
connection that opened and none for others, no descriptor and no thread more than before.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
import trustme
import uvloop
from attrs import define, field, frozen

from foreman import Foreman
from netserver import Connection, Listener, Server, ServerConfig
from tests.netserver.backplane.brokers import end_shared_brokers

PATIENCE = 15.0  # seconds after which something that should happen is taken to hang

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
LOOPS: dict[str, LoopFactory] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests on a loop of their own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await pyfuncitem.obj(**arguments)

    asyncio.run(bounded())
    gc.collect()  # what was left open tells so now, and warnings are errors here
    return True


@pytest.fixture(scope="session", autouse=True)
def _brokers() -> Iterator[None]:
    """Ends, behind all tests, the brokers that they have started and share."""
    yield
    end_shared_brokers()


@frozen
class Tls:
    """Both ends of TLS for 127.0.0.1, under an authority of its own."""

    authority: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext

    @property
    def threaded_client(self) -> ssl.SSLContext:
        """For clients that read on one thread while another writes, as those of websockets.sync do.

        Python 3.11 lets both into OpenSSL at a time. With TLS 1.3 the one may be reading the
        server's session tickets then, and what the other writes is lost: in one of some hundred
        connections on a busy machine. TLS 1.2 sends them before the first byte may be written.
        """
        context = ssl.create_default_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.authority.configure_trust(context)
        return context


@pytest.fixture(scope="session")
def tls() -> Tls:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Tls(authority, server, client)


def until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait for what no event tells of, such as a closed descriptor."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, f"{what} did not happen"
        time.sleep(0.005)


@pytest.fixture(name="until")
def until_fixture() -> Any:
    return until


@define(eq=False)
class Journal:
    """What connections were called with, in order; any thread writes, tests wait for entries."""

    entries: list[tuple[Any, ...]] = field(factory=list)
    _changed: threading.Condition = field(factory=threading.Condition)

    def note(self, *entry: Any) -> None:
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def named(self, name: str) -> list[tuple[Any, ...]]:
        with self._changed:
            return [entry for entry in self.entries if entry[0] == name]

    def until(self, name: str, count: int = 1) -> list[tuple[Any, ...]]:
        """The entries of that name, once there are so many."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: sum(entry[0] == name for entry in self.entries) >= count, PATIENCE
            )
            assert done, f"no {count} of {name} in {self.entries}"
            return [entry for entry in self.entries if entry[0] == name]

    def watch(self, cls: type[Connection]) -> type[Connection]:
        """Have a class note its callbacks before they run."""
        for name in ("open", "close", "error", "moved"):
            self._wrap(cls, name)
        return cls

    def _wrap(self, cls: Any, name: str) -> None:
        inner = getattr(cls, f"on_{name}")

        def noting(connection: Connection, *arguments: Any) -> Any:
            self.note(name, connection, *arguments)
            return inner(connection, *arguments)

        setattr(cls, f"on_{name}", noting)


@define(eq=False)
class Site:
    """A server under test."""

    server: Server
    journal: Journal
    foreman: Foreman
    tls: Tls

    def listen(self, url: str, cls: type[Connection], **options: Any) -> Listener:
        """`Server.listen` with a class of its own that the journal watches."""
        watched = self.journal.watch(type(cls.__name__, (cls,), {"__slots__": ()}))
        if url.startswith(("wss:", "tls:")):
            options.setdefault("tls", self.tls.server)
        return self.server.listen(url, watched, **options)

    def url(self, listener: Listener) -> str:
        scheme = listener.recipe.endpoint.scheme
        address = listener.address
        if isinstance(address, tuple):
            return f"{scheme}://{address[0]}:{address[1]}"
        return f"{scheme}://{address}"

    def dial(self, listener: Listener, data: bytes = b"") -> socket.socket:
        """A plain socket connected to a listener; over TLS where it wants that."""
        address: Any = listener.address
        if isinstance(address, tuple):
            sock = socket.create_connection(address, PATIENCE)
        else:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(address)
        if listener.recipe.endpoint.secure:
            sock = self.tls.client.wrap_socket(sock, server_hostname="127.0.0.1")
        if data:
            sock.sendall(data)
        return sock

    def open(self, listener: Listener, data: bytes = b"") -> tuple[socket.socket, Connection]:
        """The same, and the connection at the server's end, open."""
        before = len(self.journal.named("open"))
        sock = self.dial(listener, data)
        return sock, self.journal.until("open", before + 1)[-1][1]


def descriptors() -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            pass  # the one that listed them
    return found


@pytest.fixture
def loop_factory(request: pytest.FixtureRequest) -> LoopFactory:
    """What the nodes run on: uvloop, and asyncio's too where ``both_loops`` is asked for."""
    return LOOPS[getattr(request, "param", "uvloop")]


class Gate:
    """Where handlers of any loop wait until a test opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._lock = threading.Lock()
        self._open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def passed(self) -> None:
        event = asyncio.Event()
        with self._lock:
            if not self._open:
                self._waiting.append((asyncio.get_running_loop(), event))
            else:
                event.set()
        self.reached.set()
        await event.wait()

    def open(self) -> None:
        with self._lock:
            self._open = True
            for loop, event in self._waiting:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def config() -> ServerConfig:
    """Deadlines short enough to wait for; a test that wants others parametrizes this."""
    return ServerConfig(handshake_timeout=5.0, write_timeout=5.0, close_timeout=2.0, grace=5.0)


@pytest.fixture
def move_timeout() -> float:
    """How long a connection may take to let go of its node, seconds."""
    return 5.0


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def site(
    loop_factory: LoopFactory,
    config: ServerConfig,
    move_timeout: float,
    journal: Journal,
    tls: Tls,
) -> Iterator[Site]:
    uvloop.new_event_loop().close()  # the first one opens descriptors that stay
    gc.collect()
    threads = set(threading.enumerate())
    files = descriptors()
    foreman = Foreman(loop_factory=loop_factory, move_timeout=move_timeout)
    with foreman, Server(foreman=foreman, config=config) as server:
        yield Site(server, journal, foreman, tls)
    assert not server.statistics().connections
    assert not len(server.groups)
    opened = [entry[1] for entry in journal.named("open")]
    closed = [entry[1] for entry in journal.named("close")]
    assert len(opened) == len(set(opened))
    assert sorted(c.id for c in opened) == sorted(c.id for c in closed)
    gc.collect()
    until(lambda: set(threading.enumerate()) <= threads, "the end of every thread")
    until(lambda: descriptors() <= files, f"closing {descriptors() - files}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("both_loops")
    if marker is not None and "loop_factory" in metafunc.fixturenames:
        metafunc.parametrize("loop_factory", LOOPS.keys(), indirect=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "both_loops: run on asyncio's loop and on uvloop's")


def envelope(payload: bytes) -> bytes:
    digits = str(len(payload)).encode()
    return b"%d%b%b" % (len(digits), digits, payload)


@pytest.fixture(name="envelope")
def envelope_fixture() -> Any:
    return envelope


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, or as many as came before the end."""
    data = b""
    while len(data) < size:
        piece = sock.recv(min(65536, size - len(data)))
        if not piece:
            break
        data += piece
    return data


@pytest.fixture(name="receive")
def receive_fixture() -> Any:
    return receive


def receive_all(sock: socket.socket) -> bytes:
    """What comes until the peer ends the stream, whichever way."""
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return data


@asynccontextmanager
async def aiohttp_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session of aiohttp's; with the block its connections end, which its `close` leaves to do.

    One over TLS has yet to say good-bye then, and would be found unclosed.
    """
    sockets: list[socket.socket] = []

    def make(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = info
        sockets.append(socket.socket(family, kind, protocol))
        return sockets[-1]

    connector = aiohttp.TCPConnector(socket_factory=make)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session
    while any(sock.fileno() >= 0 for sock in sockets):  # noqa: ASYNC110
        await asyncio.sleep(0.001)


@pytest.fixture(name="aiohttp_session")
def aiohttp_session_fixture() -> Any:
    return aiohttp_session


@pytest.fixture(name="receive_all")
def receive_all_fixture() -> Any:
    return receive_all


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str], str]:
    """Where to listen with a scheme."""
    return lambda scheme: (
        f"{scheme}://{tmp_path}/s" if "unix" in scheme else f"{scheme}://127.0.0.1:0"
    )


@pytest.fixture
def as_nobody() -> Callable[..., str]:
    """Runs a program in a process that may not do everything, even where the tests are root."""
    give_up = """
import os, sys
from netserver import CertificateError, Connection, ListenError, Server, server_context
if os.getuid() == 0:
    os.setuid(65534)
"""

    def run(program: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-c", give_up + program, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
