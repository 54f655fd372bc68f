"""Peers that stall and read on, under each policy: nothing torn or out of order, all counted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from foreman import Node
from netserver import Connection, Listener, Server, ServerConfig, SlowReader, events
from netserver.backlog import OVERHEAD
from netserver.slow_reader import POLICIES
from netwire import Message

pytestmark = pytest.mark.both_loops

LIMIT = 100_000
SMALL = ServerConfig(
    send_limit=LIMIT, receive_limit=20_000, write_high_water=16_384, close_timeout=0.5, grace=2.0
)
HASTY = ServerConfig(
    send_limit=LIMIT, write_high_water=16_384, write_timeout=0.4, close_timeout=0.4, grace=2.0
)
small = pytest.mark.parametrize("config", [SMALL], ids=["small"])
hasty = pytest.mark.parametrize("config", [HASTY], ids=["hasty"])

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PING, PONG, CLOSE = 9, 10, 8


class Sending(Connection):
    """Sends what a test wants, and keeps what it is told of gaps."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[events.Gap] = []
        self.told = threading.Event()

    def on_gap(self, gap: events.Gap) -> None:
        self.gaps.append(gap)
        self.told.set()


def on_node(connection: Connection, function: Callable[[], Any]) -> Any:
    """Run it on the connection's node, and return what it returns."""
    done = threading.Event()
    result: list[Any] = []

    def call() -> None:
        try:
            result.append(function())
        finally:
            done.set()

    connection.call_soon(call)
    assert done.wait(20)
    return result[0]


class Peer:
    """A client that reads when it is told to: messages, and for WebSocket everything else too."""

    def __init__(self, site: Any, listener: Listener) -> None:
        self._ws = listener.recipe.endpoint.scheme == "ws"
        before = len(site.journal.named("open"))
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self._sock.settimeout(20)
        address: Any = listener.address
        self._sock.connect(address)
        if self._ws:
            self._sock.sendall(HANDSHAKE)
        self.connection = site.journal.until("open", before + 1)[-1][1]
        self._file = self._sock.makefile("rb")
        if self._ws:
            while self._file.readline() != b"\r\n":
                pass

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._sock.close()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Opcodes and payloads until the stream ends; envelopes count as binary messages."""
        while first := self._read(1):
            if self._ws:
                length = self._read(1)[0]
                if length > 125:
                    length = int.from_bytes(self._read(2 if length == 126 else 8))
                yield first[0] & 15, self._read(length)
            else:
                yield 2, self._read(int(self._read(int(first))))

    def messages_until(self, last: bytes) -> list[bytes]:
        """The messages until this one, which is left out."""
        found: list[bytes] = []
        for opcode, payload in self.frames():
            if opcode < 8:
                if payload == last:
                    return found
                found.append(payload)
        raise AssertionError("the stream ended")

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except ConnectionResetError:
            return b""


def numbered(number: int, size: int = 1000) -> bytes:
    return (b"%08d" % number).ljust(size, b".")


def stalled(connection: Connection) -> int:
    """Send numbered messages until what comes next has to wait; how many there were."""

    def fill() -> int:
        count = 0
        while not connection._shell.outflow.paused:
            assert connection.send(numbered(count, 10_000))
            count += 1
        return count

    return int(on_node(connection, fill))


def from_here(connection: Connection, function: Callable[[], Any]) -> Any:
    """Run it on this thread, and wait until its node has taken what was handed over."""
    result = function()
    on_node(connection, lambda: None)
    return result


WHERE = {"own-node": on_node, "elsewhere": from_here}


@small
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("policy", ["wait", "drop_new", "drop_old", "latest"])
@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_stalls_and_reads_on(site: Any, scheme: str, policy: Any, where: str) -> None:
    rules = SlowReader(policy=policy)
    listener = site.listen(f"{scheme}://127.0.0.1:0", Sending, slow_reader=rules)
    with Peer(site, listener) as peer:
        connection = peer.connection
        before = stalled(connection)
        numbers = range(before, before + 500)

        def send() -> list[bool]:
            return [connection.send(numbered(n), key=n % 7) for n in numbers]

        taken = WHERE[where](connection, send)
        assert connection.statistics().waiting == connection._shell.outflow.size <= LIMIT
        assert not connection.gaps  # there is no room for anything that it could send
        sent = before + len(taken)
        threading.Thread(target=end_when_written, args=(connection,)).start()
        got = [int(message[:8]) for message in peer.messages_until(b"end")]
        assert len(set(got)) == len(got)
        assert got[:before] == list(range(before))  # what the transport had cannot give way
        rest = got[before:]
        accepted = [n for n, was_taken in zip(numbers, taken, strict=True) if was_taken]
        if policy == "latest":
            # Seven keys, one of each at most; from elsewhere more may have come than its node took.
            assert sorted(rest) == accepted[-7:]
        else:
            assert rest == sorted(rest)
            if policy == "drop_old":
                assert rest == accepted[-len(rest) :]
                assert len(rest) == LIMIT // (1000 + OVERHEAD + (4 if scheme == "ws" else 5))
            else:  # from elsewhere True only says that it was handed over
                assert rest == accepted[: len(rest)]
                assert where == "elsewhere" or rest == accepted
        assert connection.told.wait(20)
        statistics = connection.statistics()
        assert statistics.dropped == sent - len(got) > 0
        assert sum(gap.messages for gap in connection.gaps) == statistics.dropped
        assert sum(gap.superseded for gap in connection.gaps) == statistics.superseded
        assert bool(statistics.superseded) is (policy == "latest")
        assert site.server.statistics().dropped == statistics.dropped
        assert site.server.statistics().events["gap"] == len(connection.gaps)
        assert statistics.waiting == 0


def end_when_written(connection: Connection) -> None:
    """Say ``end`` when nothing waits any more."""
    done = threading.Event()

    async def end() -> None:
        await connection.drain()
        connection.send(b"end")
        done.set()

    connection.call_soon(lambda: connection._home.create_task(connection, end()))  # type: ignore[union-attr]
    assert done.wait(20)


@small
@pytest.mark.parametrize("code", [1008, 1013])
def test_close_is_told_ahead_of_what_waits(site: Any, code: int) -> None:
    rules = SlowReader(close_code=code)
    listener = site.listen("ws://127.0.0.1:0", Sending, slow_reader=rules)
    with Peer(site, listener) as peer:
        before = stalled(peer.connection)

        def send() -> int:
            count = 0
            while peer.connection.send(numbered(count)):
                count += 1
            return count

        assert on_node(peer.connection, send) == LIMIT // (1004 + OVERHEAD)
        assert peer.connection._shell.outflow.size == 0  # let go of at once
        frames = list(peer.frames())
        assert [int(payload[:8]) for opcode, payload in frames if opcode == 2] == list(
            range(before)
        )
        assert frames[-1][0] == CLOSE
        assert int.from_bytes(frames[-1][1][:2]) == code
        reason = "over 100000 bytes wait for a slow reader"
        assert frames[-1][1][2:] == reason.encode()
        assert site.journal.until("close")[0][2:] == (code, reason)
        assert peer.connection.statistics().dropped == 0


@small
@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_close_when_what_waits_is_too_old(site: Any, scheme: str) -> None:
    rules = SlowReader(max_age=0.2)
    listener = site.listen(f"{scheme}://127.0.0.1:0", Sending, slow_reader=rules)
    with Peer(site, listener) as peer:
        stalled(peer.connection)
        peer.connection.send(b"waits")
        reason = "what waits for a slow reader is over 0.2 s old"
        assert site.journal.until("close")[0][2:] == (1008, reason)


@hasty
@pytest.mark.parametrize("policy", POLICIES)
def test_whoever_takes_nothing_is_cut_in_the_end(site: Any, policy: Any) -> None:
    rules = SlowReader(policy=policy)
    listener = site.listen("tcp://127.0.0.1:0", Sending, slow_reader=rules)
    with Peer(site, listener) as peer:
        stalled(peer.connection)
        assert site.journal.until("close")[0][2:] == (1008, "the peer has not read for 0.4 s")


@hasty
@pytest.mark.parametrize("policy", ["wait", "drop_old"])
def test_whoever_takes_a_little_now_and_then_is_kept(site: Any, policy: Any, until: Any) -> None:
    """It needs longer than the time-out for what the transport holds, but it does take some."""
    listener = site.listen("tcp://127.0.0.1:0", Sending, slow_reader=SlowReader(policy=policy))
    with Peer(site, listener) as peer:
        connection = peer.connection
        large = bytes(4_000_000)
        on_node(connection, lambda: connection.send(large))
        outflow = connection._shell.outflow
        assert outflow.paused
        stall = outflow._stall
        for _ in range(3):
            began = stall._began
            peer._read(200_000)
            until(lambda began=began: stall._began != began)
        assert outflow.paused
        assert outflow._stall is stall  # all the while over the mark
        assert not site.journal.named("close")


@small
@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_wait_loses_nothing_of_who_drains(site: Any, scheme: str) -> None:
    rounds = 200

    class Pushing(Sending):
        async def on_open(self) -> None:
            for number in range(rounds):
                assert self.send(numbered(number, 20_000))
                await self.drain()
            self.send(b"end")

    rules = SlowReader(policy="wait", max_age=0.001)
    listener = site.listen(f"{scheme}://127.0.0.1:0", Pushing, slow_reader=rules)
    with Peer(site, listener) as peer:
        got = [int(message[:8]) for message in peer.messages_until(b"end")]
        assert got == list(range(rounds))
        assert peer.connection.statistics().dropped == 0


@small
def test_the_newest_even_if_it_is_old(site: Any, until: Any) -> None:
    """By default ``latest`` keeps what is the newest there is; with an age limit it does not."""
    for max_age, expected in ((None, [b"state"]), (0.05, [])):
        rules = SlowReader(policy="latest", max_age=max_age)
        listener = site.listen(
            "tcp://127.0.0.1:0", Sending, slow_reader=rules, required_latency=0.0004
        )
        with Peer(site, listener) as peer:
            connection = peer.connection
            before = stalled(connection)
            connection.send(b"state")
            until(lambda c=connection: c._shell.outflow.size)
            came = connection._shell.outflow._stall.backlog.oldest
            until(lambda came=came, c=connection: c.node.clock() - came > 0.06)
            threading.Thread(target=end_when_written, args=(connection,)).start()
            assert peer.messages_until(b"end")[before:] == expected
            assert connection.told.wait(0 if expected else 20) is not bool(expected)


@small
def test_a_gap_is_where_it_says(site: Any) -> None:
    """What `on_gap` sends comes behind what still waited: a snapshot fills the gap."""

    class Filling(Sending):
        def on_gap(self, gap: events.Gap) -> None:
            super().on_gap(gap)
            self.send(b"gap %d" % gap.messages)

    rules = SlowReader(policy="drop_new")
    listener = site.listen("ws://127.0.0.1:0", Filling, slow_reader=rules)
    with Peer(site, listener) as peer:
        connection = peer.connection
        before = stalled(connection)
        taken = on_node(connection, lambda: [connection.send(numbered(n)) for n in range(200)])
        lost = taken.count(False)
        got = peer.messages_until(b"gap %d" % lost)
        assert [int(message[:8]) for message in got[before:]] == list(range(taken.count(True)))


@small
def test_what_gave_way_is_told_at_the_end_at_the_latest(site: Any) -> None:
    listener = site.listen("tcp://127.0.0.1:0", Sending, slow_reader=SlowReader(policy="drop_new"))
    with Peer(site, listener) as peer:
        connection = peer.connection
        stalled(connection)
        taken = on_node(connection, lambda: [connection.send(numbered(n)) for n in range(200)])
        connection.abort()
        site.journal.until("close")
        lost = taken.count(False)
        assert connection.gaps == [events.Gap(lost, lost * 1005, 0)]


@small
@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_a_graceful_close_comes_after_what_waits(site: Any, scheme: str) -> None:
    rules = SlowReader(policy="drop_old", max_age=0.001)
    listener = site.listen(f"{scheme}://127.0.0.1:0", Sending, slow_reader=rules)
    with Peer(site, listener) as peer:
        connection = peer.connection
        before = stalled(connection)

        def send() -> None:
            for number in range(before, before + 10):
                assert connection.send(numbered(number))
            connection.close()
            assert not connection.send(b"too late")

        on_node(connection, send)
        waits = connection._shell.node.clock() + 0.002
        while connection._shell.node.clock() < waits:
            pass  # older than it may be, but it was promised to be written
        frames = list(peer.frames())
        numbers = [int(payload[:8]) for opcode, payload in frames if opcode == 2]
        assert numbers[:before] == list(range(before))
        assert numbers[-1] == before + 9
        assert (frames[-1][0] == CLOSE) is (scheme == "ws")


@small
def test_pings_and_the_answer_to_a_close_go_ahead(site: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Sending)
    with Peer(site, listener) as peer:
        connection = peer.connection
        before = stalled(connection)

        def send() -> None:
            for number in range(20):
                assert connection.send(numbered(number))
            connection.ping(b"ahead")

        on_node(connection, send)
        frames = peer.frames()
        opcodes = [next(frames)[0] for _ in range(before + 1)]
        assert opcodes == [2] * before + [PING]
        assert [int(next(frames)[1][:8]) for _ in range(20)] == list(range(20))


class Counting:
    """A transform whose messages depend on those before them."""

    def __init__(self) -> None:
        self._count = 0

    def outgoing(self, message: Message) -> Message:
        assert isinstance(message, bytes)
        if message == b"bad":
            raise ValueError("cannot be sent")
        self._count += 1
        return b"%d:" % (self._count - 1) + message

    def incoming(self, message: Message) -> Message:
        return message


@small
@pytest.mark.parametrize("how", ["drain", "close"])
@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_what_is_encoded_is_written(site: Any, scheme: str, how: str) -> None:
    """With encodings that depend on their order, only what was not encoded gives way."""
    rules = SlowReader(policy="drop_old")
    listener = site.listen(
        f"{scheme}://127.0.0.1:0", Sending, slow_reader=rules, transform=Counting
    )
    with Peer(site, listener) as peer:
        connection = peer.connection
        stalled(connection)
        assert on_node(connection, lambda: [connection.send(numbered(n)) for n in range(500)])
        if how == "close":
            connection.close()
            got = [payload for opcode, payload in peer.frames() if opcode == 2]
        else:
            threading.Thread(target=end_when_written, args=(connection,)).start()
            got = []
            for _, payload in peer.frames():
                got.append(payload)
                if payload.endswith(b":end"):
                    break
        assert [int(payload.partition(b":")[0]) for payload in got] == list(range(len(got)))
        assert connection.statistics().dropped > 0


@small
def test_one_that_cannot_be_encoded_when_its_turn_comes(site: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Sending, transform=Counting)
    with Peer(site, listener) as peer:
        connection = peer.connection
        before = stalled(connection)

        def send() -> None:
            assert connection.send(b"one")
            assert connection.send(b"bad")
            assert connection.send(b"two")
            with pytest.raises(UnicodeEncodeError):
                connection.send("\ud800")
            with pytest.raises(TypeError):
                connection.send(3)

        on_node(connection, send)
        frames = list(peer.frames())
        rest = [payload.partition(b":")[2] for opcode, payload in frames if opcode == 2][before:]
        assert rest == [b"one", b"two"]
        assert int.from_bytes(frames[-1][1][:2]) == 1011
        assert str(site.journal.until("error")[0][2]) == "cannot be sent"


@pytest.mark.parametrize(
    ("scheme", "policy"),
    [("ws", "close"), ("tcp", "close"), ("ws", "drop_old"), ("tcp", "latest"), ("ws", "wait")],
)
def test_a_broadcast_to_many_of_whom_some_stall(site: Any, scheme: str, policy: Any) -> None:
    """A hundred subscribers, ten stalled: each meets the policy, and the others lose nothing."""
    payload = 16_384
    listener = site.listen(
        f"{scheme}://127.0.0.1:0", Sending, slow_reader=SlowReader(policy=policy)
    )
    server: Server = site.server
    limit = server.config.send_limit
    many = [Peer(site, listener) for _ in range(100)]
    good, bad = many[10:], many[:10]
    try:
        finished = threading.Barrier(len(good) + 1)
        results: dict[int, list[int]] = {}

        def read(index: int, peer: Peer) -> None:
            results[index] = [int(message[:8]) for message in peer.messages_until(b"end")]
            finished.wait(30)

        for peer in many:
            peer.connection.join("all")
        for index, peer in enumerate(good):
            threading.Thread(target=read, args=(index, peer), daemon=True).start()
        count = 0
        met = [0] * len(bad)
        while not all(met) and count < 20_000:
            for _ in range(20):
                server.broadcast(numbered(count, payload), group="all", key=count)
                count += 1
            for peer in good:  # in step with the slowest of the good ones
                end_step(peer.connection)
            for index, peer in enumerate(bad):
                connection = peer.connection
                assert connection._shell.outflow.size <= limit if alive(connection) else True
                met[index] = connection.statistics().dropped or connection.close_code or 0
        assert all(met), met
        for peer in good:
            peer.connection.send(b"end")
        finished.wait(30)
        for numbers in results.values():
            assert numbers == list(range(count))
        assert all(peer.connection.statistics().dropped == 0 for peer in good)
        if policy == "close":
            assert {peer.connection.close_code for peer in bad} == {1008}
        else:
            assert all(peer.connection.close_code is None for peer in bad)
            lost = sum(peer.connection.statistics().dropped for peer in bad)
            assert server.statistics().dropped == lost
    finally:
        for peer in many:
            peer.__exit__()


def alive(connection: Connection) -> bool:
    return connection.close_code is None


def end_step(connection: Connection) -> None:
    """Wait until a reader has taken what it was sent."""
    done = threading.Event()

    async def drained() -> None:
        await connection.drain()
        done.set()

    connection.call_soon(lambda: connection._home.create_task(connection, drained()))  # type: ignore[union-attr]
    assert done.wait(20)


@small
@pytest.mark.parametrize("policy", ["drop_new", "drop_old", "latest", "wait"])
def test_across_a_live_move(site: Any, policy: Any) -> None:
    rules = SlowReader(policy=policy)
    listener = site.listen("ws://127.0.0.1:0", Sending, slow_reader=rules)
    with Peer(site, listener) as peer:
        connection = peer.connection
        old: Node = connection.node
        before = stalled(connection)
        promise = site.foreman.move(connection, site.foreman.spawn())
        numbers = range(before, before + 300)
        taken = [connection.send(numbered(n), key=n) for n in numbers]
        messages: list[bytes] = []
        reader = threading.Thread(target=lambda: messages.extend(peer.messages_until(b"end")))
        reader.start()
        assert promise.result(20) is True
        assert connection.node is not old
        connection.send(numbered(1000), key=1000)
        end_when_written(connection)
        reader.join(20)
        got = [int(message[:8]) for message in messages]
        assert got[-1] == 1000
        assert got == sorted(set(got))
        accepted = [n for n, was_taken in zip(numbers, taken, strict=True) if was_taken]
        assert set(got) <= set(range(before)) | set(accepted) | {1000}
        on_node(connection, lambda: None)
        assert connection.statistics().dropped == before + 300 + 1 - len(got)


def test_options_are_told_to_whoever_gives_them(site: Any) -> None:
    with pytest.raises(TypeError, match="slow_reader is a SlowReader"):
        site.listen("tcp://127.0.0.1:0", Sending, slow_reader="latest")
