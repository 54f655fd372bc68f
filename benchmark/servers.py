"""The servers that can be put under load, and what each of them needs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from attrs import frozen

from benchmark.errors import BenchmarkError
from benchmark.peers.compiler import ERLANG, GO, Compiler

OURS = "foreman"
UNMETERED = "unmetered"  # the same with the Foreman's measuring off: to be asked for by name


@frozen(kw_only=True)
class ServerKind:
    """A server program.

    Args:
        name: What reports and options call it.
        requires: The module that must be installed; also its name on the package index. None
            where the program is not in Python.
        transports: The URL schemes that it can listen on.
        compiler: What makes the program behind `program`, where that is not in Python.
        works: Whether it obeys the orders of `benchmark.peers.work`, on two listeners.
        deflates: Whether it speaks permessage-deflate.
        variant_of: The server that it is another form of: it is measured only when it is asked
            for by name, or where a row of the echo benchmark has it.
        arguments: Further options of its program.
    """

    name: str
    requires: str | None
    transports: tuple[str, ...]
    compiler: Compiler | None = None
    works: bool = False
    deflates: bool = False
    variant_of: str | None = None
    arguments: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """The module to run with ``python -m``."""
        name = self.variant_of if self.arguments and self.variant_of else self.name
        return f"benchmark.peers.{name.replace('-', '_')}_server"

    def obstacle(self, transport: str, *, deflate: bool = False) -> str | None:
        """Why it cannot be run, or None when it can."""
        if deflate and not self.deflates:
            return f"{self.name} does not speak permessage-deflate"
        if transport not in self.transports:
            return f"{self.name} listens on {' '.join(self.transports)}, not on {transport}"
        if self.requires is not None and find_spec(self.requires) is None:
            return f"{self.requires} is not installed: pip install 'foreman-server[bench]'"
        return None if self.compiler is None else self.compiler.obstacle()


_ALL = ("ws", "wss", "tcp", "tls", "unix", "ws+unix")
_WEBSOCKET = ("ws", "wss", "ws+unix")

SERVERS = {
    kind.name: kind
    for kind in (
        ServerKind(name=OURS, requires="netserver", transports=_ALL, works=True, deflates=True),
        ServerKind(name=UNMETERED, requires="netserver", transports=_ALL, variant_of=OURS),
        ServerKind(name="picows", requires="picows", transports=("ws", "wss")),
        ServerKind(name="websockets", requires="websockets", transports=_WEBSOCKET, deflates=True),
        ServerKind(name="aiohttp", requires="aiohttp", transports=_WEBSOCKET, deflates=True),
        ServerKind(name="uvicorn", requires="uvicorn", transports=_WEBSOCKET, deflates=True),
        ServerKind(name="uvloop", requires="uvloop", transports=("tcp", "tls", "unix")),
        ServerKind(
            name="picows-uvloop",
            requires="picows",
            transports=("ws", "wss"),
            variant_of="picows",
            arguments=("--uvloop",),
        ),
        ServerKind(
            name="aiohttp-fastnet",
            requires="aiofastnet",
            transports=("ws", "wss"),
            variant_of="aiohttp",
            arguments=("--fastnet",),
            deflates=True,
        ),
        ServerKind(
            name="uvloop-fastnet",
            requires="aiofastnet",
            transports=("tcp", "tls"),
            variant_of="uvloop",
            arguments=("--fastnet",),
        ),
        ServerKind(name="one-loop", requires="uvloop", transports=("tcp",), works=True),
        ServerKind(name="thread-pool", requires="uvloop", transports=("tcp",), works=True),
        ServerKind(name="go", requires=None, transports=("tcp",), compiler=GO, works=True),
        ServerKind(name="erlang", requires=None, transports=("tcp",), compiler=ERLANG, works=True),
    )
}


def choose_server(name: str, transport: str) -> ServerKind:
    """The server of that name.

    Raises:
        BenchmarkError: There is none, or it cannot be run here.
    """
    kind = SERVERS.get(name)
    if kind is None:
        raise BenchmarkError(f"there is no server {name!r}, only {', '.join(SERVERS)}")
    obstacle = kind.obstacle(transport)
    if obstacle is not None:
        raise BenchmarkError(obstacle)
    return kind


def choose_peers(
    names: str | None, transport: str, server: str
) -> tuple[list[ServerKind], Sequence[str]]:
    """The peers to compare a server with.

    Args:
        names: ``"all"``, or names with commas between them, or None for none.
        transport: The URL scheme that they must listen on.
        server: The server under test, which is no peer of itself.

    Returns:
        The peers, and, where all were asked for, why any of them is left out.

    Raises:
        BenchmarkError: A peer asked for by name cannot be run here.
    """
    if names is None:
        return [], ()
    if names != "all":
        wanted = dict.fromkeys(name.strip() for name in names.split(","))
        return [choose_server(name, transport) for name in wanted if name != server], ()
    others = [
        kind
        for kind in SERVERS.values()
        if kind.variant_of is None and kind.name not in (server, OURS)
    ]
    found = [kind for kind in others if kind.obstacle(transport) is None]
    skipped = [
        f"skipped: {kind.obstacle(transport)}"
        for kind in others
        if transport in kind.transports and kind not in found
    ]
    return found, skipped
