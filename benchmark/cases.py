"""The rows of the echo benchmark: what each measures, of whom, and the bars that are set for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from benchmark.bars import Bar

BEST = "the best of them"


@frozen(kw_only=True)
class Case:
    """One load that every server able to do it is put under.

    Args:
        name: What ``--cases`` and the results file call it.
        transport: The URL scheme that every server listens on.
        in_flight: Messages each connection keeps under way.
        size: Payload of a message, bytes.
        deflate: Whether messages are JSON-like text, compressed.
        handshakes: Whether connections are opened and closed, in place of messages.
        peers: Further peers that are measured with ``--peers all``, beside those that are in every
            row: variants of them.
        asked: The least that the server's messages a second should be over a peer's, by peer;
            `BEST` for whichever is best of `best_of`.
        best_of: The peers that `BEST` means; all that were measured, where it is empty.
        least: The fewest messages, or handshakes, a second; None for no such bar.
    """

    name: str
    transport: str
    in_flight: int = 1
    size: int = 128
    deflate: bool = False
    handshakes: bool = False
    peers: Sequence[str] = ()
    asked: Mapping[str, float] = field(factory=dict)
    best_of: Sequence[str] = ()
    least: float | None = None

    @property
    def title(self) -> str:
        """What is measured, in a few words."""
        what = {
            "ws": "WebSocket",
            "wss": "WebSocket over TLS",
            "tcp": "envelopes",
            "tls": "envelopes over TLS",
        }
        words = what.get(self.transport, self.transport)
        if self.handshakes:
            return f"{words}, handshakes"
        size = f"{self.size} B" if self.size < 1024 else f"{self.size / 1024:g} KiB"
        kind = " of JSON-like text, permessage-deflate" if self.deflate else ""
        return f"{words}, {size}{kind}, {self.in_flight} in flight"

    def bars(self, server: str, rates: Mapping[str, float]) -> list[Bar]:
        """What was asked, beside what was measured.

        Args:
            server: The server under test.
            rates: Messages or handshakes a second, by server.
        """
        ours = rates.get(server)
        bars = []
        for peer, least in self.asked.items():
            theirs = rates.get(peer)
            name = peer
            if peer == BEST:
                found = {
                    each: rate
                    for each, rate in rates.items()
                    if each != server and each in (self.best_of or rates)
                }
                best = max(found, key=lambda each: found[each], default=None)
                theirs, name = (None, BEST) if best is None else (found[best], f"{best}, {BEST}")
            ratio = ours / theirs if ours and theirs else None
            what = f"{self.title}: messages/s over {name}"
            bars.append(Bar(what=what, measured=ratio, limit=least))
        if self.least is not None:
            bars.append(Bar(what=self.title, measured=ours, limit=self.least, unit="/s"))
        return bars


_SMALL = {"aiohttp": 1.2, "websockets": 2.5, "uvicorn": 4.0}
_LARGE = {BEST: 0.9}
_FOUR = ("picows", "aiohttp", "websockets", "uvicorn")
CASES = (
    Case(name="ws", transport="ws", asked={"picows": 0.85, **_SMALL}),
    Case(name="ws-16", transport="ws", in_flight=16, asked={"picows": 1.5, **_SMALL}),
    Case(name="ws-16k", transport="ws", size=1 << 14, asked=_LARGE, best_of=_FOUR),
    Case(name="ws-256k", transport="ws", size=1 << 18, asked=_LARGE, best_of=_FOUR),
    Case(
        name="wss",
        transport="wss",
        peers=("picows-uvloop", "aiohttp-fastnet"),
        asked={BEST: 0.7},
        best_of=("picows", "aiohttp"),
    ),
    Case(name="deflate", transport="ws", size=1024, deflate=True, asked={"aiohttp": 1.0}),
    Case(name="tcp", transport="tcp", asked={"uvloop": 0.7}),
    Case(name="tls", transport="tls", peers=("uvloop-fastnet",)),
    Case(name="handshakes", transport="ws", handshakes=True, least=4000.0),
    Case(name="handshakes-tls", transport="wss", handshakes=True),
)
