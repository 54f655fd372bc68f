"""This project's server as a target: listeners of every kind, and it tells what became of peers.

Its listeners, in the order of the URLs that it announces, are `LISTENERS`. Commands on its standard
input are JSON objects, each answered by a line of statistics:

=====================  =============================================================================
``{}``                 nothing more than that
``{"publish": N, …}``  broadcast so many messages to the feed, of ``size`` bytes, ``rate`` a second,
                       each beginning with the time on `time.monotonic_ns`'s clock, 8 bytes, and its
                       number, 4; answered at once
=====================  =============================================================================
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import threading
import time
from collections import Counter
from typing import Any

from attrs import asdict, define, field, frozen

from benchmark.hostile.handshakes import ALLOWED
from benchmark.peers.program import Options
from foreman import Action, BestFit, Demand, Foreman, Place, Placement, Snapshot, Spawn, Worker
from netserver import Connection, Request, Server, ServerConfig, server_context
from netserver.events import Closed, Event
from netwire import Deflate

# The URL schemes of the listeners. Of the further ones, ``far`` is on a node of its own where that
# is asked for, ``origin`` lets in one page only, ``deflate`` compresses.
LISTENERS = {
    "ws": "ws",
    "tcp": "tcp",
    "wss": "wss",
    "tls": "tls",
    "far": "ws",
    "origin": "ws",
    "deflate": "ws",
}

FEED = "/feed"
HEADER = struct.Struct("!QI")
LOOK_EVERY = 10  # messages of the feed: then it is seen whether one waits
MUCH = 4096  # messages of 4 KiB: more than all buffers take


class Near(Connection):
    """An echo that can be asked for too much, and to say goodbye."""

    def on_connect(self, request: Request) -> None:
        if request.path == FEED:
            self.join(FEED)

    def on_message(self, message: bytes | str) -> None:
        if message == b"!much":
            for _ in range(MUCH):
                if not self.send(bytes(4096)):
                    break
        elif message == b"!close":
            self.close(4000, "as asked")
        elif self.request.path != FEED:
            self.send(message)


class Far(Near):
    """The same by another name, for `Apart`."""


@frozen(kw_only=True)
class Apart(BestFit):
    """Two nodes: one for those of the class `Far`, one for all others; and nobody is moved."""

    def place(
        self, demand: Demand, snapshot: Snapshot, home: str | None = None, avoid: str | None = None
    ) -> Placement:
        if len(snapshot.nodes) < 2:
            return Spawn("there are to be two")
        near, far = sorted(snapshot.nodes, key=lambda node: node.name)
        return Place(far.name if demand.kind.endswith("Far") else near.name, "its own")

    def review(self, snapshot: Snapshot) -> tuple[Action, ...]:
        return ()


@define(eq=False)
class Log:
    """How connections ended. Any thread may note and read it.

    Attributes:
        published: Messages of the feed so far; written by the thread that publishes.
        stalled: When something of the feed was first seen to wait for a reader, `time.monotonic`;
            None before that. Written by the same thread.
    """

    published: int = field(default=0, init=False)
    stalled: float | None = field(default=None, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)  # guards the next one
    _codes: Counter[str] = field(factory=Counter, init=False)

    def note(self, worker: Worker, event: Event) -> None:
        """Count an end by its code."""
        if isinstance(event, Closed):
            with self._lock:
                self._codes[str(event.code)] += 1

    def codes(self) -> dict[str, int]:
        """So many have ended with each code."""
        with self._lock:
            return dict(self._codes)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--declared", type=float, default=0.010, help="latency, seconds")
    parser.add_argument("--apart", action="store_true", help="``far`` on a node of its own")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=SECONDS", help="of the ServerConfig"
    )
    options, found = Options.parse(parser)
    settings: Any = {name: float(value) for name, value in (each.split("=") for each in found.set)}
    config = ServerConfig(**settings)
    foreman = Foreman(policy=Apart() if found.apart else None)
    log = Log()
    with foreman:
        server = Server(foreman=foreman, config=config, on_event=log.note)
        urls = []
        for name, scheme in LISTENERS.items():
            listener = server.listen(
                f"{scheme}://127.0.0.1:0",
                Far if name == "far" else Near,
                required_latency=found.declared,
                tls=server_context(options.certificate) if scheme in ("wss", "tls") else None,
                allowed_origins=[ALLOWED] if name == "origin" else None,
                compression=Deflate() if name == "deflate" else None,
            )
            urls.append(f"{scheme}://127.0.0.1:{listener.port}")
        server.start()
        _say({"urls": urls})
        threading.Thread(target=_obey, args=(server, log), name="control", daemon=True).start()
        server.run()


def _obey(server: Server, log: Log) -> None:
    for line in sys.stdin:
        command = json.loads(line)
        if "publish" in command:
            arguments = (server, command, log)
            threading.Thread(target=_publish, args=arguments, daemon=True).start()
        _say(_statistics(server, log))
    os._exit(0)


def _publish(server: Server, command: dict[str, Any], log: Log) -> None:
    padding = bytes(command["size"] - HEADER.size)
    due = time.monotonic()
    for number in range(command["publish"]):
        due += 1 / command["rate"]
        if (rest := due - time.monotonic()) > 0:
            time.sleep(rest)
        server.broadcast(HEADER.pack(time.monotonic_ns(), number) + padding, FEED)
        log.published += 1
        looks = log.stalled is None and number % LOOK_EVERY == 0
        if looks and any(c.statistics().waiting for c in server.connections):
            log.stalled = time.monotonic()


def _statistics(server: Server, log: Log) -> dict[str, Any]:
    found = server.statistics()
    return {
        "connections": found.connections,
        "events": found.events,
        "codes": log.codes(),
        "published": log.published,
        "stalled": log.stalled,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "nodes": [asdict(node) for node in found.foreman.nodes],
        "counts": found.foreman.events,
    }


def _say(fields: dict[str, Any]) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
