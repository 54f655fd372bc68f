"""One server of the kill test: groups with history and presence, and clients named by their paths.

A client connects to ``/GROUP/NAME``, with ``?epoch=…&offset=…`` when it comes back. It says
``NUMBER TEXT``, numbers counting up, and is sent, as words:

    back RECOVERED EPOCH OFFSET COUNT    it is in the group; COUNT messages that it missed follow
    said EPOCH OFFSET NAME NUMBER TEXT   a message of the group
    taken NUMBER OUTCOME                 what became of one of its own

To a line on its standard input it answers with who is in which group, as it knows it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from benchmark.peers.program import announce
from netserver import (
    ClusterConfig,
    Connection,
    Entry,
    GroupRules,
    History,
    Outcome,
    Position,
    Recovery,
    Request,
    Server,
)

# More than is ever said in a group: nobody may be told that too much was missed.
HISTORY = History(count=100_000, size=32 * 1024 * 1024, age=3600.0)


class Guest(Connection):
    """A client in its group."""

    required_latency = 0.1
    server: Server
    identity: str
    group: str

    def on_connect(self, request: Request) -> None:
        _, self.group, self.identity = request.path.split("/")

    def on_open(self) -> None:
        self.join(self.group, since=read_position(self.request.query))

    def on_recovery(self, recovery: Recovery) -> None:
        at, count = recovery.position, len(recovery.messages)
        self.send(f"back {recovery.recovered} {at.epoch} {at.offset} {count}")
        for message in recovery.messages:
            self.send(message)

    def on_message(self, message: str) -> None:
        number, _, text = message.partition(" ")
        said = f"{self.identity} {number} {text}"
        delivery = self.server.publish(self.group, said, id=f"{self.identity}.{number}")

        def tell(outcome: Outcome) -> None:
            self.send(f"taken {number} {outcome.value}")

        delivery.then(tell)


def read_position(query: Mapping[str, list[str]]) -> Position | None:
    """Where a client has read to; None where it does not say."""
    if "epoch" not in query:
        return None
    return Position(query["epoch"][0], int(query["offset"][0]))


def stamp(entry: Entry) -> str:
    """What members are sent of a message."""
    at = entry.position
    return f"said {at.epoch} {at.offset} {entry.message!s}"


def main(stamp: Callable[[Entry], str] = stamp) -> None:
    """Serve until SIGTERM, or SIGKILL."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--dead-after", type=float, required=True)
    options = parser.parse_args()
    dead_after = options.dead_after
    config = ClusterConfig(dead_after=dead_after, heartbeat=min(1.0, dead_after / 5))
    server = Server(cluster=options.cluster, cluster_config=config)
    server.groups.set_rules("*", GroupRules(presence=True, history=HISTORY, stamp=stamp))
    server.listen(f"ws://127.0.0.1:{options.port}", Guest)
    server.start()
    announce([f"ws://127.0.0.1:{options.port}"], lambda: describe(server))
    server.run()


def describe(server: Server) -> dict[str, Any]:
    """Its id, and by group its own members and everybody's names with their servers' ids."""
    groups = list(server.groups)
    return {
        "id": server.statistics().cluster.id,
        "own": {
            group: [connection.identity for connection in server.groups.members(group)]
            for group in groups
        },
        "presence": {
            group: [[member.identity, member.server] for member in server.presence(group)]
            for group in groups
        },
    }


if __name__ == "__main__":
    main()
