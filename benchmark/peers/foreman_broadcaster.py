"""This project's server, as a user would run it, with an audience and a strict class.

What is sent to the first listener goes to all of its connections; they declare a second. The second
listener's connections declare 10 ms and echo.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial

from attrs import frozen

from benchmark.peers.events import EventLog
from benchmark.peers.foreman_server import Echo, statistics
from benchmark.peers.program import Options, announce, positive
from foreman import Action, BestFit, Demand, Foreman, Place, Placement, Relocate, Snapshot, Spawn
from foreman.foreman import DEFAULT_MAX_NODES
from netserver import Connection, Server, ServerConfig

GROUP = "audience"

# The audience answers no pings, and counts each byte that is no message as too much. Where it takes
# long to connect there would be some.
QUIET = ServerConfig(ping_interval=None)


class Member(Connection):
    """One of the audience."""

    required_latency = 1.0

    def on_open(self) -> None:
        self.join(GROUP)

    def on_message(self, message: bytes | str) -> None:
        self.server.broadcast(message, GROUP)


@frozen(kw_only=True)
class Spread(BestFit):
    """Spreads the audience evenly over so many nodes; everybody else goes where the Foreman says.

    By itself the Foreman has the fewest nodes that keep every declaration, and that may be one for
    all of the audience.
    """

    nodes: int

    def place(
        self, demand: Demand, snapshot: Snapshot, home: str | None = None, avoid: str | None = None
    ) -> Placement:
        if demand.required_latency != Member.required_latency:
            return super().place(demand, snapshot, home, avoid)
        open_ = [
            node
            for node in snapshot.nodes
            if node.is_open and all(g.required_latency >= 1.0 for g in node.groups)
        ]
        if len(open_) < self.nodes:
            return Spawn("the audience is to be spread")
        if home in [node.name for node in open_]:
            return Place(home, "it is there")
        return Place(min(open_, key=lambda node: node.count).name, "the emptiest")

    def review(self, snapshot: Snapshot) -> Sequence[Action]:
        return [action for action in super().review(snapshot) if isinstance(action, Relocate)]


def told(foreman: Foreman, server: Server, log: EventLog) -> dict[str, object]:
    """What every program of ours tells, and how many of the audience each node has."""
    nodes = [member.node for member in server.groups.members(GROUP)]
    audience = Counter(node.name for node in nodes if node is not None)
    return {**statistics(foreman, log), "audience": audience}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=positive, help="the nodes to spread the audience over")
    options, found = Options.parse(parser)
    log = EventLog()
    if found.nodes is None:
        foreman = Foreman(on_event=log.note)
    else:  # the strict class has nodes of its own
        most = max(DEFAULT_MAX_NODES, 2 * found.nodes)
        foreman = Foreman(policy=Spread(nodes=found.nodes), max_nodes=most, on_event=log.note)
    with foreman:
        server = Server(foreman=foreman, config=QUIET)
        listeners = [
            server.listen(options.url(index=index), kind)
            for index, kind in enumerate((Member, Echo))
        ]
        server.start()
        urls = [
            options.url(each.address[1] if isinstance(each.address, tuple) else 0, index)
            for index, each in enumerate(listeners)
        ]
        announce(urls, partial(told, foreman, server, log))
        server.run()


if __name__ == "__main__":
    main()
