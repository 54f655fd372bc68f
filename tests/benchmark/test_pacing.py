"""The open loop, in both its clients, against real servers: quick, stalled, wrong, deaf, gone."""

from __future__ import annotations

import select
import socket
import threading
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from attrs import evolve, field, frozen

from benchmark.load.client import ConnectionLost, Mismatch, Unasked
from benchmark.load.connect import connect_all
from benchmark.load.native_pacing import NativePacer
from benchmark.load.paced import run
from benchmark.load.pacing import Pacer, SelectingPacer
from benchmark.load.stream import build_stream
from benchmark.load.timetable import (
    MOST_IN_FLIGHT,
    NEVER,
    Attendance,
    Line,
    Timetable,
    read_times,
    split,
)

StartServer = Callable[[Callable[[socket.socket, bytes], None]], str]
pytestmark = pytest.mark.alone

MILLISECOND = 1_000_000


@frozen(kw_only=True)
class Bench:
    """Runs timetables in either client."""

    directory: Path
    library: str | None
    due: list[array[int]] = field(factory=list)

    def run(
        self,
        lines: Sequence[Line],
        due: Sequence[Sequence[int]],
        seconds: float = 30.0,
        size: int = 128,
    ) -> tuple[Attendance, list[array[int]], list[array[int]]]:
        """How it went, and for each line when its messages were taken up and heard of."""
        counts = [len(times) for times in due]
        timetable = Timetable(
            lines=[evolve(line, messages=count) for line, count in zip(lines, counts, strict=True)],
            due=str(self.directory / "due"),
            answers=str(self.directory / "answers"),
            size=size,
            seconds=seconds,
            library=self.library,
        )
        Path(timetable.due).write_bytes(b"".join(array("q", times).tobytes() for times in due))
        attendance = run(timetable, lambda _seconds, _messages: None)
        both = split(read_times(Path(timetable.answers)), counts * 2)
        return attendance, both[: len(lines)], both[len(lines) :]


@pytest.fixture(params=["c", "python"])
def bench(request: pytest.FixtureRequest, library: str | None, tmp_path: Path) -> Bench:
    if request.param == "c" and library is None:
        pytest.skip("there is no C compiler, or no epoll")
    return Bench(directory=tmp_path, library=library if request.param == "c" else None)


def echo(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)


def every(milliseconds: float, count: int, first: float = 0.0) -> list[int]:
    return [round((first + milliseconds * n) * MILLISECOND) for n in range(count)]


def test_each_message_is_sent_when_it_is_due(bench: Bench, start_server: StartServer) -> None:
    line = Line(url=start_server(echo), messages=0)
    due = [every(3, 40), every(7, 20, first=1), []]
    attendance, taken, heard = bench.run([line] * 3, due)
    assert attendance.client == ("c" if bench.library else "python")
    for line_due, line_taken, line_heard in zip(due, taken, heard, strict=True):
        assert len(line_due) == len(line_taken) == len(line_heard)
        for at, sent, back in zip(line_due, line_taken, line_heard, strict=True):
            assert at <= sent <= back
    assert attendance.elapsed >= 0.133  # the last one is due then


def test_a_stall_delays_no_send_and_no_latency_is_left_out(
    bench: Bench, start_server: StartServer
) -> None:
    released = threading.Event()
    seen: list[int] = []

    def hold(connection: socket.socket, data: bytes) -> None:
        seen.append(len(data))
        released.wait(30)
        connection.sendall(data)

    timer = threading.Timer(0.3, released.set)
    timer.start()
    line = Line(url=start_server(hold), messages=0)
    _, (taken,), (heard,) = bench.run([line], [every(10, 20)])
    timer.join()
    # All were sent while the server was stuck in the first: none waited for a reply.
    assert taken[-1] < heard[0]
    latencies = [back - at for back, at in zip(heard, every(10, 20), strict=True)]
    assert min(latencies) > 50 * MILLISECOND
    assert latencies == sorted(latencies, reverse=True)
    assert len(seen) >= 2


def test_what_is_unanswered_at_the_end_is_told(bench: Bench, start_server: StartServer) -> None:
    frame = build_stream("tcp", 128).request_size
    answered = bytearray()

    def tire(connection: socket.socket, data: bytes) -> None:
        reply = data[: max(0, 5 * frame - len(answered))]
        answered.extend(reply)
        connection.sendall(reply)

    line = Line(url=start_server(tire), messages=0)
    attendance, (taken,), (heard,) = bench.run([line], [every(5, 10)], seconds=0.2)
    assert attendance.elapsed == pytest.approx(0.2, abs=0.15)
    assert NEVER not in taken
    assert [back == NEVER for back in heard] == [False] * 5 + [True] * 5


def test_messages_wait_at_the_limit_of_bytes_in_flight(
    bench: Bench, start_server: StartServer
) -> None:
    held = bytearray()
    more: list[bool] = []

    def hold_until_the_limit(connection: socket.socket, data: bytes) -> None:
        held.extend(data)
        if not more and len(held) >= MOST_IN_FLIGHT:
            more.append(bool(select.select([connection], [], [], 0.2)[0]))
        if more:
            connection.sendall(held)
            held.clear()

    line = Line(url=start_server(hold_until_the_limit), messages=0)
    _, (taken,), (heard,) = bench.run([line], [[0] * 50], size=100_000)
    assert more == [False]
    assert NEVER not in heard
    assert max(taken) < min(heard)  # they waited in the timetable, their latency running


def test_payloads_begin_as_the_line_says(bench: Bench, start_server: StartServer) -> None:
    received = bytearray()

    def note(connection: socket.socket, data: bytes) -> None:
        received.extend(data)
        connection.sendall(data)

    line = Line(url=start_server(note), messages=0, opening="!", exception=(3, "L0.010 "))
    bench.run([line], [every(1, 100)])
    frame = build_stream("tcp", 128).request_size
    head = frame - 128
    payloads = [received[at + head : at + frame] for at in range(0, len(received), frame)]
    assert len(payloads) == 100
    assert payloads[3].startswith(b"L0.010 ")
    assert {bytes(payload[:1]) for number, payload in enumerate(payloads) if number != 3} == {b"!"}


def test_wrong_bytes_are_reported(bench: Bench, start_server: StartServer) -> None:
    frame = build_stream("tcp", 128).request_size
    position = 0

    def corrupt(connection: socket.socket, data: bytes) -> None:
        nonlocal position
        reply = bytearray(data)
        at = 9 * frame + 50 - position
        if 0 <= at < len(reply):
            reply[at] ^= 1
        position += len(data)
        connection.sendall(reply)

    quiet = Line(url=start_server(echo), messages=0)
    line = Line(url=start_server(corrupt), messages=0)
    with pytest.raises(Mismatch, match="connection 1, reply 9: byte 50 is"):
        bench.run([quiet, line], [[], every(1, 5000)])


def test_more_than_was_asked_for_is_reported(bench: Bench, start_server: StartServer) -> None:
    line = Line(url=start_server(lambda c, data: c.sendall(data + b"1")), messages=0)
    with pytest.raises(Unasked):
        bench.run([line], [[0, 20_000 * MILLISECOND]])


def test_a_server_that_hangs_up_is_reported(bench: Bench, start_server: StartServer) -> None:
    def leave(connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)

    line = Line(url=start_server(leave), messages=0)
    with pytest.raises(ConnectionLost, match="connection 0 ended after 1 replies"):
        bench.run([line], [[0, 20_000 * MILLISECOND]])


def make_pacer(bench: Bench, url: str, due: list[array[int]]) -> Pacer:
    sockets = connect_all([url] * len(due), None)
    streams = [build_stream("tcp", 16)] * len(due)
    if bench.library is None:
        return SelectingPacer(sockets, streams, [0] * len(due), due, 1)
    return NativePacer(bench.library, sockets, streams, [0] * len(due), due, 1)


def test_messages_are_ordered_by_the_times_due(bench: Bench, start_server: StartServer) -> None:
    due = [array("q", times) for times in ([5, 6, 30], [], [1, 29], [6])]
    pacer = make_pacer(bench, start_server(echo), due)
    try:
        assert list(pacer.order) == [2, 0, 0, 3, 2, 0]
        assert list(pacer.begin) == [0, 3, 3, 5]
    finally:
        pacer.close()


def test_a_timetable_refuses_nonsense(tmp_path: Path) -> None:
    due, answers = str(tmp_path / "due"), str(tmp_path / "answers")
    line = Line(url="tcp://127.0.0.1:1", messages=2)
    other = evolve(line, url="ws://127.0.0.1:1")
    with pytest.raises(ValueError, match="seconds"):
        Timetable(lines=[line], seconds=0, due=due, answers=answers)
    with pytest.raises(ValueError, match="same URL scheme"):
        Timetable(lines=[line, other], seconds=1, due=due, answers=answers)
    (tmp_path / "due").write_bytes(bytes(8))
    with pytest.raises(ValueError, match="has 1 times"):
        Timetable(lines=[line], seconds=1, due=due, answers=answers).read_due()
