"""A crowd as a process: thousands of sockets that do next to nothing, and are watched.

Each line of standard input is a JSON object with ``do`` and its arguments, answered by one line:

=========  =====================================================================================
``open``   open ``count`` connections to ``port``, ``rate`` a second, from address ``source``;
           each sends ``say`` (a name of `SAYINGS`) once connected, and waits for a handshake's
           answer where that is one; ``small`` of them have small receive buffers, and never read
``watch``  read from all but the small ones until all have ended, or for ``seconds``; with
           ``readers_only`` until all but the small ones have; with ``messages`` until all of the
           feed are there and the small ones gone
``vanish`` have the system throw away whatever comes for them, and so never acknowledge it (Linux)
``leave``  close all of them
=========  =====================================================================================

Times in answers are seconds; ``lives`` are from connecting to the end, the longest of all.
"""

from __future__ import annotations

import ctypes
import json
import select
import selectors
import socket
import struct
import sys
from time import monotonic, monotonic_ns
from typing import Any

from attrs import define, field

from benchmark.histogram import Histogram
from benchmark.hostile.frames import BINARY, frame, header
from benchmark.hostile.peer import HEAD, PIECE
from benchmark.peers.target_server import FEED, HEADER

FEED_HEAD = HEAD.replace(b"GET / ", f"GET {FEED} ".encode())
HELLO = bytes((22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3)) + bytes(64)  # the beginning of one
ANSWER_END = b"\r\n\r\n"
SMALL_BUFFER = 4096
CONNECT_TIMEOUT = 30.0

# A filter in BPF, the system's language for them: let through nothing of any packet.
SO_ATTACH_FILTER = 26
RETURN_NOTHING = struct.pack("HBBI", 6, 0, 0, 0)

# What each connection says first, and whether an answer to a handshake is due then.
SAYINGS: dict[str, tuple[bytes, bool]] = {
    "nothing": (b"", False),
    "half a hello": (HELLO, False),
    "half a head": (HEAD[:-4], False),
    "half an envelope": (b"3500hello", False),
    "an envelope": (b"15hello", False),
    "half a frame": (HEAD + header(BINARY, 500) + bytes(4) + b"hello", True),
    "handshake": (HEAD, True),
    "feed": (FEED_HEAD, True),
    "echo": (HEAD + frame(BINARY, b"hello"), True),
}


@define(eq=False)
class Member:
    """One socket."""

    sock: socket.socket
    began: float
    small: bool
    opened: bool = False
    ended: float | None = None
    rest: bytes = b""
    messages: int = 0
    next_number: int = 0
    code: int | None = None


@define(eq=False)
class Crowd:
    """All of them. One thread uses it."""

    members: list[Member] = field(factory=list)
    _selector: selectors.BaseSelector = field(factory=selectors.DefaultSelector)
    _saying: bytes = b""
    _answered: bool = False
    trips: Histogram = field(factory=Histogram)
    lost: int = 0

    def open(
        self, port: int, count: int, rate: float, say: str, source: str, small: int
    ) -> dict[str, Any]:
        """Open them, at that rate or as fast as it goes."""
        self._saying, self._answered = SAYINGS[say]
        began = monotonic()
        new: list[Member] = []
        refused = 0
        waiting = 0
        while len(new) + refused < count or waiting:
            now = monotonic()
            if now > began + count / rate + CONNECT_TIMEOUT:
                break
            due = min(count, int((now - began) * rate) + 1)
            while len(new) + refused < due and waiting < 500:
                member = self._connect(port, source, len(new) < small)
                if member is None:
                    refused += 1
                    continue
                new.append(member)
                waiting += 1
            self._serve(0.001)
            waiting = sum(not m.opened and m.ended is None for m in new[-600:])
        self.members += new
        opened = sum(member.opened for member in new)
        return {"opened": opened, "refused": count - opened, "seconds": monotonic() - began}

    def _connect(self, port: int, source: str, small: bool) -> Member | None:
        sock = socket.socket()
        sock.setblocking(False)
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        try:
            sock.bind((source, 0))
            sock.connect(("127.0.0.1", port))
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            return None
        member = Member(sock, monotonic(), small)
        self._selector.register(sock, selectors.EVENT_WRITE, member)
        return member

    def _serve(self, timeout: float) -> None:
        for key, events in self._selector.select(timeout):
            member: Member = key.data
            try:
                if events & selectors.EVENT_WRITE:
                    self._say(member)
                else:
                    self._hear(member)
            except BlockingIOError:
                continue
            except OSError:
                self._end(member)

    def _say(self, member: Member) -> None:
        if error := member.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "connecting failed")
        if self._saying:
            member.sock.send(self._saying)
        member.opened = not self._answered
        self._selector.modify(member.sock, selectors.EVENT_READ, member)

    def _hear(self, member: Member) -> None:
        piece = member.sock.recv(PIECE if member.opened else 4096)
        if not piece:
            self._end(member)
            return
        member.rest += piece
        if not member.opened and self._answered:
            head, end, behind = member.rest.partition(ANSWER_END)
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self._end(member)
                return
            member.opened, member.rest = True, behind
            if member.small:  # it reads no more; its end is told all the same
                self._selector.unregister(member.sock)
                return
        self._take_frames(member)

    def _take_frames(self, member: Member) -> None:
        """Messages of the feed, and the close; all that a server sends here is that."""
        data, at = member.rest, 0
        while len(data) - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            if length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            if start + length > len(data):
                break
            if data[at] == 0x88:
                member.code = int.from_bytes(data[start : start + 2])
                member.sock.send(frame(8, data[start : start + 2]))
            elif length >= HEADER.size:
                sent, number = HEADER.unpack_from(data, start)
                self.trips.record(max(0, monotonic_ns() - sent))
                self.lost += number != member.next_number
                member.next_number = number + 1
                member.messages += 1
            at = start + length
        member.rest = data[at:]

    def _end(self, member: Member) -> None:
        if member.ended is None:
            member.ended = monotonic()
            try:
                self._selector.unregister(member.sock)
            except KeyError:
                pass  # a small one
            member.sock.close()

    def watch(
        self, seconds: float, messages: int | None = None, readers_only: bool = False
    ) -> dict[str, Any]:
        """Read until all have ended, or have so many messages, or it is enough."""
        ends = monotonic() + seconds
        polled = 0.0
        while (now := monotonic()) < ends:
            self._serve(0.01)
            if now - polled > 0.05:
                polled = now
                self._look_at_the_small()
                left = [m for m in self.members if m.ended is None]
                if not left or (readers_only and all(m.small for m in left)):
                    break
                if messages is not None and all(m.messages >= messages for m in left):
                    break
        return self.describe()

    def _look_at_the_small(self) -> None:
        """Whether they were cut, without reading."""
        for member in self.members:
            if member.small and member.opened and member.ended is None:
                poll = select.poll()
                poll.register(member.sock, select.POLLRDHUP)
                if poll.poll(0):
                    self._end(member)

    def describe(self) -> dict[str, Any]:
        """What became of them so far."""
        lives = [m.ended - m.began for m in self.members if m.ended is not None]
        small = [m.ended for m in self.members if m.small and m.ended is not None]
        good = [m for m in self.members if not m.small]
        codes: dict[str, int] = {}
        for member in good:
            codes[str(member.code)] = codes.get(str(member.code), 0) + 1
        return {
            "left": sum(m.ended is None for m in self.members),
            "lives": max(lives, default=0.0),
            "small_ended": sorted(small),
            "codes": codes,
            "messages": sum(m.messages for m in good),
            "fewest": min((m.messages for m in good), default=0),
            "lost": self.lost,
            "p50": self.trips.percentile(50) / 1e9,
            "p99": self.trips.percentile(99) / 1e9,
            "now": monotonic(),
        }

    def vanish(self) -> dict[str, Any]:
        """Be gone for the server, without a word."""
        nothing = ctypes.create_string_buffer(RETURN_NOTHING)
        program = struct.pack("HP", 1, ctypes.addressof(nothing))
        for member in self.members:
            member.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        return {}

    def leave(self) -> dict[str, Any]:
        """Close all."""
        for member in self.members:
            self._end(member)
        self.members.clear()
        self.trips.clear()
        self.lost = 0
        return {}


def main() -> None:
    """Obey until the end of standard input."""
    crowd = Crowd()
    for line in sys.stdin:
        order = json.loads(line)
        match order.pop("do"):
            case "open":
                answer = crowd.open(**order)
            case "watch":
                answer = crowd.watch(**order)
            case "vanish":
                answer = crowd.vanish()
            case _:
                answer = crowd.leave()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
