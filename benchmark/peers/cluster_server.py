"""This project's server as part of a cluster, or several of them in one process.

Each server has the listeners of `LISTENERS`, in this order in the URLs that are announced, server
after server. A command on standard input is a JSON object, answered by a line with what each
server counts:

=======================  ===========================================================================
``{}``                   nothing more than that
``{"send": NAME, …}``    ``server`` sends ``count`` messages to the identity, each when it is known
                         what became of the one before
``{"group": NAME, …}``   ``server`` sends ``count`` messages to the group, each when the one before
                         is on its way to other servers
=======================  ===========================================================================
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

from attrs import asdict

from benchmark.peers.foreman_server import Echo
from benchmark.peers.program import Options
from foreman import Foreman
from netserver import ClusterConfig, Connection, Request, Server

PATIENCE = 10.0  # seconds until it must be known what became of a message
PAUSE = 0.0005  # seconds between two looks at whether something is on its way
SIZE = 128  # bytes of those that are sent at command


class Twin(Connection):
    """Sends what it gets to the identity with the number that differs in the last bit."""

    def on_connect(self, request: Request) -> None:
        self.identity = request.path.strip("/")
        self.twin = str(int(self.identity) ^ 1)

    def on_message(self, message: bytes | str) -> None:
        self.server.send_to(self.twin, message)


class Member(Connection):
    """Says by its path who it is and which group it belongs to, and wants echoes."""

    def on_connect(self, request: Request) -> None:
        self.identity, _, self.group = request.path.strip("/").partition("/")

    def on_open(self) -> None:
        self.join(self.group)

    def on_message(self, message: bytes | str) -> None:
        self.send(message)


class Prober(Connection):
    """Sends a message to each identity, or group, that it is told of in JSON."""

    def on_message(self, message: bytes | str) -> None:
        told: dict[str, list[str]] = json.loads(message)
        for identity in told.get("identities", ()):
            self.server.send_to(identity, "to you")
        for group in told.get("groups", ()):
            self.server.broadcast("to all", group)


LISTENERS: tuple[type[Connection], ...] = (Twin, Echo, Member, Prober)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--cluster", action="append", metavar="URL", help="a server with this backplane"
    )
    parser.add_argument("--heartbeat", type=float, default=1.0, help="seconds")
    options, found = Options.parse(parser)
    config = ClusterConfig(heartbeat=found.heartbeat, dead_after=5 * found.heartbeat)
    servers: list[Server] = []
    urls: list[str] = []
    with ExitStack() as stack:
        for cluster in found.cluster or [None]:
            foreman = stack.enter_context(Foreman())
            server = Server(foreman=foreman, cluster=cluster, cluster_config=config)
            listeners = [server.listen(options.url(), kind) for kind in LISTENERS]
            server.start()
            stack.callback(server.close)
            servers.append(server)
            urls += [options.url(listener.port or 0) for listener in listeners]
        _say({"urls": urls})
        threading.Thread(target=_obey, args=(servers,), name="control", daemon=True).start()
        servers[0].run()


def _obey(servers: list[Server]) -> None:
    for line in sys.stdin:
        command = json.loads(line)
        outcomes = list(_carry_out(command, servers))
        _say({"servers": [_counts(server) for server in servers], "outcomes": outcomes})
    os._exit(0)


def _carry_out(command: dict[str, Any], servers: list[Server]) -> list[str]:
    if not command:
        return []
    server, numbers = servers[command["server"]], range(command["count"])
    if "group" in command:
        for _ in numbers:
            server.broadcast(bytes(SIZE), command["group"])
            while server.statistics().cluster.waiting:
                time.sleep(PAUSE)
        return []
    deliveries = (
        server.send_to(command["send"], bytes(SIZE), timeout=PATIENCE).wait(2 * PATIENCE)
        for _ in numbers
    )
    return [outcome.value for outcome in deliveries]


def _counts(server: Server) -> dict[str, Any]:
    found = server.statistics()
    return {**asdict(found.cluster), "nodes": len(found.foreman.nodes)}


def _say(fields: dict[str, Any]) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
