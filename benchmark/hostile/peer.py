"""One hostile peer: a socket that is used as no client would use it, and how it was met."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Callable
from time import monotonic, sleep
from urllib.parse import urlsplit

from attrs import frozen

HEAD = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
DEFLATE = HEAD[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
PIECE = 65536


class Cut(Exception):
    """The server has ended the connection, one way or another."""


@frozen(kw_only=True)
class Target:
    """Whom to attack.

    Args:
        url: A listener of the server.
        certificate: PEM file of the authority to trust, where the URL asks for TLS.
        patience: How long to wait for what the server should do, seconds.
        seconds: How long a flood lasts, unless it is cut.
        most: Bytes that it has at most.
    """

    url: str
    certificate: str | None = None
    patience: float = 15.0
    seconds: float = 0.5
    most: int = 1 << 62


@frozen(kw_only=True)
class Met:
    """How one peer was met.

    Args:
        outcome: ``HTTP`` and a status, ``close`` and a code, ``end`` for an end of the stream
            without a word, ``served`` where the server had no reason to object, or ``nothing``
            when it was not cut in time.
        sent: Bytes that it sent.
        seconds: From the last of them, or the first of a drip, to the end.
    """

    outcome: str
    sent: int
    seconds: float


class Peer:
    """A connection to the target. One thread uses it.

    Attributes:
        sent: Bytes that were sent.
        patience: How long to wait for the server, seconds.
        until: When a flood is to end, `time.monotonic`.
        began: When what is counted began, `time.monotonic`.
        served: Whether it was treated well, and that was right.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.patience = target.patience
        self._parts = urlsplit(target.url)
        self.sent = 0
        self.served = False
        self.began = monotonic()
        self.until = self.began + target.seconds
        assert self._parts.hostname is not None
        assert self._parts.port is not None
        self.sock = socket.create_connection(
            (self._parts.hostname, self._parts.port), target.patience
        )
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # ---------------------------------------------------------------- ways in

    def encrypt(self) -> None:
        """Do the handshake of TLS."""
        context = ssl.create_default_context(cafile=self._target.certificate)
        self.sock = context.wrap_socket(
            self.sock, server_hostname=self._parts.hostname, suppress_ragged_eofs=False
        )

    def hello(self) -> bytes:
        """What a TLS client says first."""
        outgoing = ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=self._target.certificate)
        client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=self._parts.hostname)
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return outgoing.read()

    def shake_hands(self, head: bytes = HEAD) -> None:
        """Do the WebSocket handshake like anybody."""
        self.sock.sendall(head)
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = self.sock.recv(1)
            if not piece:
                raise Cut
            answer += piece
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise Cut

    # ---------------------------------------------------------------- misdeeds

    def begin(self) -> None:
        """The misdeeds begin now."""
        self.began = monotonic()
        self.until = self.began + self._target.seconds

    def send(self, data: bytes) -> None:
        """Send it all.

        Raises:
            Cut: The server does not want it any more, or does not read.
        """
        try:
            self.sock.sendall(data)
        except OSError:
            raise Cut from None
        self.sent += len(data)

    def drip(self, data: bytes, interval: float = 0.0) -> None:
        """Send it byte by byte, each in a segment of its own."""
        for position in range(len(data)):
            self.send(data[position : position + 1])
            if interval:
                sleep(interval)

    def flood(self, data: bytes, *, reading: bool) -> None:
        """Send it over and over until the flood's time is up, or the server cuts it.

        Args:
            data: What.
            reading: Whether what comes back is read meanwhile; without that, sending blocks
                sooner or later, and the end of the connection ends it.
        """
        self.sock.setblocking(False)
        view = memoryview(data)
        offset = 0
        ends = self.sent + self._target.most
        while monotonic() < self.until and self.sent < ends:
            readable, writable, _ = select.select([self.sock] * reading, [self.sock], [], 0.05)
            try:
                if readable and not self.sock.recv(PIECE):
                    raise Cut
                count = self.sock.send(view[offset:]) if writable else 0
            except OSError:
                raise Cut from None
            self.sent += count
            offset = (offset + count) % len(data)
        self.sock.settimeout(self._target.patience)
        if offset:  # what follows begins at the beginning of a frame
            self.send(data[offset:])

    def expect(self, answer: bytes) -> None:
        """Be served with exactly that."""
        found = b""
        while len(found) < len(answer):
            piece = self.sock.recv(len(answer) - len(found))
            if not piece:
                raise Cut
            found += piece
        self.served = found == answer

    def is_reset(self, within: float) -> bool:
        """Whether the server has reset the connection, or does within so many seconds."""
        poll = select.poll()
        poll.register(self.sock, 0)  # errors are told unasked
        return bool(poll.poll(within * 1000))

    def shut(self) -> None:
        """End our side of the stream."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            raise Cut from None

    def reset(self) -> None:
        """Cut the connection without a word."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.served = True

    def leave(self) -> None:
        """Go, after all that was right."""
        self.sock.close()
        self.served = True

    # ---------------------------------------------------------------- the end

    def await_end(self) -> Met:
        """Read until the server ends it, and say how."""
        said = bytearray()
        ended = self.served
        try:
            while not ended:
                piece = self.sock.recv(PIECE)
                ended = not piece
                said = (said + piece)[-2 * PIECE :]  # what tells the outcome comes last, or first
        except TimeoutError:
            pass
        except OSError:
            ended = True
        self.sock.close()
        outcome = "served" if self.served else _outcome(bytes(said)) if ended else "nothing"
        return Met(outcome=outcome, sent=self.sent, seconds=monotonic() - self.began)


def _outcome(said: bytes) -> str:
    """What the server's last words come to."""
    if said.startswith(b"HTTP/1.1 "):
        return f"HTTP {said[9:12].decode()}"
    if len(said) >= 2 and said[0] == 0x88:  # a close, and nothing before it
        return f"close {int.from_bytes(said[2:4])}" if said[1] >= 2 else "close"
    found = said.rfind(b"\x88")
    if found >= 0 and len(said) - found >= 4 and said[found + 1] == len(said) - found - 2:
        return f"close {int.from_bytes(said[found + 2 : found + 4])}"
    return "end"


@frozen(kw_only=True)
class Attack:
    """One way to do harm.

    Args:
        name: What tests and reports call it.
        where: Which listener of `benchmark.peers.target_server` it goes to.
        strike: What it does, once connected, and open where `opened`.
        expected: The outcomes that are right.
        noted: The close code with which the server ends it for itself; None where the peer may be
            gone before the server has looked.
        opened: Whether the handshakes of TLS and of WebSocket are done first, properly.
        deadline: The deadline of the server's that ends it: ``handshake``, ``write``, ``close``;
            None where the server ends it at once, or the peer does.
    """

    name: str
    where: str
    strike: Callable[[Peer], None]
    expected: frozenset[str]
    noted: int | None
    opened: bool
    deadline: str | None

    def carry_out(self, target: Target, wait: Callable[[], object] = lambda: None) -> Met:
        """Do it once.

        Args:
            target: Whom to.
            wait: Called between connecting and striking.

        Raises:
            OSError: It could not even connect.
        """
        peer = Peer(target)
        try:
            if self.opened:
                if self.where in ("wss", "tls"):
                    peer.encrypt()
                if self.where not in ("tcp", "tls"):
                    peer.shake_hands(DEFLATE if self.where == "deflate" else HEAD)
            wait()
            peer.begin()
            self.strike(peer)
        except (Cut, ConnectionError, ssl.SSLError):
            pass  # how it ended, reading tells
        return peer.await_end()
