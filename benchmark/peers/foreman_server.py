"""This project's server, as a user would run it: foreman and metering on, default limits."""

from __future__ import annotations

import argparse
import time

from attrs import asdict, frozen

from benchmark.peers.program import Options, announce
from foreman import BestFit, Demand, Foreman, Place, Placement, Snapshot, Spawn
from netserver import Connection, Server

STRICT = 0.010  # seconds
LOOSE = 2.0


class Echo(Connection):
    required_latency = STRICT

    def on_message(self, message: bytes | str) -> None:
        self.send(message)


class SleepingEcho(Connection):
    """An echo whose handler waits, as for a disk or a database."""

    required_latency = LOOSE
    hold = 0.0

    def on_message(self, message: bytes | str) -> None:
        time.sleep(self.hold)
        self.send(message)


class ComputingEcho(SleepingEcho):
    """An echo whose handler computes."""

    def on_message(self, message: bytes | str) -> None:
        until = time.thread_time() + self.hold
        while time.thread_time() < until:
            pass
        self.send(message)


@frozen(kw_only=True)
class FixedNodes(BestFit):
    """So many nodes whatever anybody declares, the emptiest next.

    With one node it is what a server on one event loop does.
    """

    nodes: int

    def place(self, demand: Demand, snapshot: Snapshot, home: str | None = None) -> Placement:
        if len(snapshot.nodes) < self.nodes:
            return Spawn("there are to be more")
        emptiest = min(snapshot.nodes, key=lambda node: node.count)
        return Place(emptiest.name, "the emptiest")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loose", choices=("sleep", "compute"), help="listen for these as well")
    parser.add_argument("--hold", type=float, default=0.0, help="of a loose handler, seconds")
    parser.add_argument("--fixed-nodes", type=int, help="so many nodes instead of those needed")
    options, found = Options.parse(parser)
    policy = None if found.fixed_nodes is None else FixedNodes(nodes=found.fixed_nodes)
    with Foreman(policy=policy) as foreman:
        serve(foreman, options, found)


def serve(foreman: Foreman, options: Options, found: argparse.Namespace) -> None:
    server = Server(foreman=foreman)
    classes: list[type[Connection]] = [Echo]
    if found.loose:
        SleepingEcho.hold = found.hold
        classes.append(SleepingEcho if found.loose == "sleep" else ComputingEcho)
    listeners = [
        server.listen(options.url(index=index), kind, tls=options.tls())
        for index, kind in enumerate(classes)
    ]
    server.start()

    def statistics() -> dict[str, object]:
        return {
            "nodes": [asdict(node) for node in foreman.statistics().nodes],
            "events": foreman.statistics().events,
        }

    urls = [
        options.url(listener.address[1] if isinstance(listener.address, tuple) else 0, index)
        for index, listener in enumerate(listeners)
    ]
    announce(urls, statistics)
    server.run()


if __name__ == "__main__":
    main()
