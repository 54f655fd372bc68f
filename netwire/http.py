"""The HTTP that a WebSocket server meets: requests read, responses written (RFC 9112)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from urllib.parse import parse_qs

from attrs import field, frozen


class Headers(Mapping[str, str]):
    """Header fields: names in any case, several values of one name joined by a comma.

    Args:
        lines: ``(name, value)`` pairs in the order in which they came.
    """

    __slots__ = ("_found", "_lines", "_packed")

    def __init__(self, lines: tuple[tuple[str, str], ...] = ()) -> None:
        self._lines: tuple[tuple[str, str], ...] | None = lines
        self._packed = ""
        self._found: dict[str, list[str]] | None = None  # the values by name, until `pack`

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """``(name, value)`` pairs in the order in which they came."""
        lines = self._lines
        if lines is None:
            pairs = (line.partition(":") for line in self._packed.split("\n"))
            lines = tuple((name, value) for name, _, value in pairs)
        return lines

    def pack(self) -> None:
        """Keep the fields as one string from here on, which is taken apart whenever they are read.

        A browser's take a third of the memory so, and hardly anybody asks after the handshake.
        Other threads may read them meanwhile.
        """
        if self._lines:
            self._packed = "\n".join(f"{name}:{value}" for name, value in self._lines)
            self._lines = self._found = None

    def __getitem__(self, name: str) -> str:
        found = self.get_all(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self.lines))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.lines})

    def get_all(self, name: str) -> list[str]:
        """Every value of ``name``, one per line; empty when there is none."""
        found = self._found
        if found is None:
            lines, found = self.lines, {}
            for key, value in lines:
                found.setdefault(key.lower(), []).append(value)
            if self._lines is lines:  # otherwise it was packed meanwhile
                self._found = found
        return list(found.get(name.lower(), ()))

    def __repr__(self) -> str:
        return f"Headers({self.lines!r})"


@frozen(weakref_slot=False)  # each connection keeps one
class Request:
    """What a peer asked for when it connected.

    Where the transport has no handshake (``tcp://``), it is the default: ``GET /`` with no headers.

    Attributes:
        method: ``GET`` and so on.
        target: The request target as it was sent, path and query together.
        headers: Its header fields.
        subprotocols: What a WebSocket client offers, best first.
    """

    method: str = "GET"
    target: str = "/"
    headers: Headers = field(factory=Headers)
    subprotocols: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The target up to its query, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's fields, decoded; a field may occur several times."""
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)


def _encode_body(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body


@frozen
class Response:
    """An answer over HTTP; the connection closes after it.

    Args:
        status: 200 to 599, or 101 where a client reports the server's answer.
        body: Sent as it is; ``str`` is encoded as UTF-8.
        content_type: Left out of the head when there is no body.
        headers: Further ``(name, value)`` pairs. ``Content-Length`` and ``Connection: close``
            are added.
    """

    status: int = 200
    body: bytes = field(default=b"", converter=_encode_body)
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self, *, head_only: bool = False) -> bytes:
        """The bytes of the whole response.

        Args:
            head_only: Leave the body out, as the answer to HEAD must (RFC 9110, section 9.3.2).

        Raises:
            ValueError: A header holds a line break, or the status is not one.
        """
        lines = [*self.headers, ("Content-Length", str(len(self.body))), ("Connection", "close")]
        if self.body:
            lines.append(("Content-Type", self.content_type))
        for name, value in lines:
            if any(c in name + value for c in "\r\n\0"):
                raise ValueError(f"header {name!r} holds a line break")
        head = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines)
        return head.encode("latin-1") + b"\r\n" + (b"" if head_only else self.body)
