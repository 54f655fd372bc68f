"""Every server of the mixed scenario, run for real: what it echoes and obeys, how it ends."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmark.errors import BenchmarkError
from benchmark.processes import Server, running_server
from benchmark.servers import SERVERS, ServerKind
from benchmark.usage import cpu_seconds
from benchmark.workspace import Workspace, open_workspace

TIMEOUT = 20.0
Require = Callable[[ServerKind], None]

WORKING = [name for name, kind in SERVERS.items() if kind.works]
OTHERS = [name for name in WORKING if name != "foreman"]


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    """One for all, so that what is compiled is compiled once."""
    with open_workspace("tcp", "python") as opened:
        yield opened


@pytest.fixture(params=WORKING)
def kind(request: pytest.FixtureRequest, require: Require) -> ServerKind:
    """Each server that obeys orders, where it is installed."""
    found = SERVERS[request.param]
    require(found)
    return found


class Talker:
    """One connection that speaks envelopes, byte by byte as API.md has them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(map(envelope, messages)))

    async def receive(self) -> bytes:
        async with asyncio.timeout(TIMEOUT):
            width = int(await self.reader.readexactly(1))
            length = int(await self.reader.readexactly(width))
            return await self.reader.readexactly(length)

    async def ask(self, message: bytes) -> bytes:
        self.send(message)
        return await self.receive()

    async def ends(self) -> bool:
        """Whether the server ends the connection without saying any more."""
        async with asyncio.timeout(TIMEOUT):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


def envelope(message: bytes) -> bytes:
    length = b"%d" % len(message)
    return b"%d%b%b" % (len(length), length, message)


@asynccontextmanager
async def talking(url: str) -> AsyncIterator[Talker]:
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        yield Talker(reader, writer)
    finally:
        writer.close()


def with_server(
    kind: ServerKind,
    workspace: Workspace,
    use: Callable[[Server], Coroutine[Any, Any, None]],
    *options: str,
) -> None:
    """Run a server, do something with it, and see that SIGTERM ends it."""

    async def main() -> None:
        async with running_server(kind, "tcp", workspace, None, options) as server:
            await use(server)
        assert server.child.process.returncode in (0, -signal.SIGTERM)

    asyncio.run(main())


def test_it_echoes_in_order_on_both_listeners(kind: ServerKind, workspace: Workspace) -> None:
    messages = [b"", b"1", b"x" * 9, b"y" * 10, b"z" * 100_000, "ä!".encode(), b"L", b"Lx", b"G"]

    async def use(server: Server) -> None:
        assert len(set(server.urls)) == 2
        for url in server.urls:
            assert url.startswith("tcp://127.0.0.1:")
            async with talking(url) as talker:
                talker.send(*messages)
                assert [await talker.receive() for _ in messages] == messages

    with_server(kind, workspace, use, "--work", "sleep")


def test_it_takes_envelopes_in_any_pieces(kind: ServerKind, workspace: Workspace) -> None:
    messages = [b"", b"hello", b"x" * 123, b"end"]
    stream = b"".join(map(envelope, messages))

    async def use(server: Server) -> None:
        async with talking(server.urls[0]) as talker:
            for start in range(len(stream)):
                talker.writer.write(stream[start : start + 1])
                await talker.writer.drain()
                await asyncio.sleep(0)
            assert [await talker.receive() for _ in messages] == messages

    with_server(kind, workspace, use)


def test_a_bad_envelope_ends_its_connection_only(kind: ServerKind, workspace: Workspace) -> None:
    async def use(server: Server) -> None:
        async with talking(server.urls[0]) as good:
            for bad in (b"x", b"0", b"1:", b"205hello", b"71048577"):
                async with talking(server.urls[0]) as broken:
                    assert await broken.ask(b"before") == b"before"
                    broken.writer.write(bad)
                    assert await broken.ends(), bad
            assert await good.ask(b"still here") == b"still here"

    with_server(kind, workspace, use)


@pytest.mark.parametrize(("work", "computed"), [("compute", 1.0), ("both", 0.5), ("sleep", 0.0)])
def test_an_order_takes_its_hold(
    kind: ServerKind, workspace: Workspace, work: str, computed: float
) -> None:
    hold, times = 0.03, 5

    async def use(server: Server) -> None:
        for url in server.urls:
            async with talking(url) as talker:
                await talker.ask(b"!the first one")
                cpu = cpu_seconds(server.child.pid)
                begun = time.monotonic()
                for _ in range(times):
                    assert await talker.ask(b"!work") == b"!work"
                # Erlang's computing is measured in chunks, not read from a clock.
                assert time.monotonic() - begun >= times * hold * 0.95
                if cpu is None:
                    continue
                used = (cpu_seconds(server.child.pid) or 0.0) - cpu
                assert used >= times * hold * computed * 0.95
                if not computed:
                    assert used < times * hold  # a sleeper that computes would use all of it

    with_server(kind, workspace, use, "--work", work, "--hold", str(hold))


@pytest.mark.parametrize("talkers", [2, 5])
def test_contention_does_not_shorten_the_work(
    kind: ServerKind, workspace: Workspace, talkers: int
) -> None:
    hold, times = 0.02, 4

    async def use(server: Server) -> None:
        async def order(url: str) -> None:
            async with talking(url) as talker:
                for _ in range(times):
                    await talker.ask(b"!")

        cpu = cpu_seconds(server.child.pid)
        await asyncio.gather(*(order(server.urls[1]) for _ in range(talkers)))
        if cpu is not None:
            used = (cpu_seconds(server.child.pid) or 0.0) - cpu
            assert used >= talkers * times * hold * 0.9

    options = () if kind.compiler is None else ("--processors", "1")
    with_server(kind, workspace, use, "--work", "compute", "--hold", str(hold), *options)


def test_orders_keep_the_order(kind: ServerKind, workspace: Workspace) -> None:
    """What comes behind an order is not answered before it, on whichever thread it could be."""
    messages = [b"!%d" % number if number % 7 == 0 else b"%d" % number for number in range(50)]

    async def use(server: Server) -> None:
        async with talking(server.urls[0]) as one, talking(server.urls[1]) as other:
            for talker in (one, other):
                talker.send(*messages)
            for talker in (one, other):
                assert [await talker.receive() for _ in messages] == messages

    with_server(kind, workspace, use, "--work", "both", "--hold", "0.004")


def test_without_work_it_obeys_no_orders(kind: ServerKind, workspace: Workspace) -> None:
    async def use(server: Server) -> None:
        async with talking(server.urls[0]) as talker:
            for message in (b"!", b"L0.5", b"Garbage"):
                assert await talker.ask(message) == message

    with_server(kind, workspace, use, "--hold", str(3 * TIMEOUT))


@pytest.mark.parametrize(
    ("name", "options", "first"),
    [
        ("thread-pool", ("--threads", "2"), "the quick one"),
        ("thread-pool", ("--threads", "1"), "the slow one"),
        ("go", ("--processors", "1"), "the quick one"),
        ("erlang", ("--processors", "1"), "the quick one"),
    ],
)
def test_whether_a_sleeper_keeps_another_connection_waiting(
    workspace: Workspace, require: Require, name: str, options: tuple[str, ...], first: str
) -> None:
    require(SERVERS[name])

    async def use(server: Server) -> None:
        answers: list[str] = []

        async def note(talker: Talker, what: str) -> None:
            await talker.receive()
            answers.append(what)

        async with talking(server.urls[0]) as slow, talking(server.urls[1]) as quick:
            for talker in (slow, quick):
                assert await talker.ask(b"hello") == b"hello"
            slow.send(b"!")
            quick.send(b"hello")  # which reaches the server later
            await asyncio.gather(note(slow, "the slow one"), note(quick, "the quick one"))
        assert answers[0] == first

    with_server(SERVERS[name], workspace, use, "--work", "sleep", "--hold", "1", *options)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        *((name, ("--transport", "unix"), "invalid choice: 'unix'") for name in OTHERS),
        ("one-loop", ("--work", "idle"), "invalid choice: 'idle'"),
        ("one-loop", ("--hold", "-1"), "must be 0 to 3600 s, not '-1'"),
        ("one-loop", ("--hold", "nan"), "must be 0 to 3600 s, not 'nan'"),
        ("thread-pool", ("--threads", "0"), "must be a whole number of at least 1, not '0'"),
        ("thread-pool", ("--switch-interval", "0"), "strictly positive"),
        ("go", ("--processors", "0"), "must be a whole number of at least 1, not '0'"),
        ("erlang", ("--processors", "x"), "must be a whole number of at least 1, not 'x'"),
    ],
)
def test_what_it_cannot_do_is_refused(
    workspace: Workspace, require: Require, name: str, options: tuple[str, ...], reason: str
) -> None:
    require(SERVERS[name])

    async def use(_server: Server) -> None:
        pytest.fail("it started")

    with pytest.raises(BenchmarkError, match=f"(?s)server {name} ended.*{reason}"):
        with_server(SERVERS[name], workspace, use, *options)


def test_it_ends_when_nobody_is_there(kind: ServerKind, workspace: Workspace) -> None:
    async def main() -> int | None:
        async with running_server(kind, "tcp", workspace, None, ()) as server:
            async with talking(server.urls[0]) as talker:
                assert await talker.ask(b"hello") == b"hello"
            assert server.child.process.stdin is not None
            server.child.process.stdin.close()
            return await asyncio.wait_for(server.child.process.wait(), TIMEOUT)

    assert asyncio.run(main()) == 0


# ---------------------------------------------------------------- our own


def test_ours_declares_what_a_message_says(workspace: Workspace) -> None:
    async def use(server: Server) -> None:
        strict, slow = server.urls

        async def strictest() -> float:
            nodes = (await server.statistics())["nodes"]
            return float(min(node["required_latency"] for node in nodes if node["workers"]))

        async with talking(slow) as talker:
            assert (
                await talker.ask(b"L0.25 and the rest is padding")
                == b"L0.25 and the rest is padding"
            )
            assert await strictest() == 0.25
            assert await talker.ask(b"L0") == b"L0"  # no latency, no change
            assert await strictest() == 0.25
            async with talking(strict) as other:
                assert await other.ask(b"hello") == b"hello"
                assert await strictest() == 0.010
            assert await talker.ask(b"L0.005") == b"L0.005"
            assert await strictest() == 0.005

    with_server(SERVERS["foreman"], workspace, use, "--work", "sleep")


def test_ours_tells_what_happened_and_when(workspace: Workspace) -> None:
    """Somebody who declared 10 ms like everybody holds a node for 100 ms at a time."""

    async def use(server: Server) -> None:
        begun = time.monotonic()
        async with talking(server.urls[0]) as victim, talking(server.urls[0]) as offender:
            found: dict[str, Any] = {"counts": {}}
            async with asyncio.timeout(TIMEOUT):
                while not {"missed", "moved"} <= found["counts"].keys():
                    offender.send(b"!")
                    await victim.ask(b"hello")
                    await offender.receive()
                    found = await server.statistics()
        assert begun <= found["now"] <= time.monotonic()
        assert found["started"] <= begun
        events = found["events"]
        assert events[0]["kind"] == "spawned"
        for kind in ("spawned", "moved", "retired", "stuck", "missed", "refused"):
            number = sum(event["kind"] == kind for event in events)
            assert number == found["counts"].get(kind, 0)
        times = [found["started"] + event["at"] for event in events]
        assert begun <= max(times) <= found["now"]
        names = {node["name"] for node in found["nodes"]}
        assert {event["new"] for event in events if event["kind"] == "moved"} <= names
        for node in found["nodes"]:
            assert node["workers"] >= 0
            assert node["load"] >= 0
            assert node["scan_latency"]["worst"] >= node["scan_latency"]["p99"] >= 0

    with_server(SERVERS["foreman"], workspace, use, "--work", "sleep", "--hold", "0.1")
