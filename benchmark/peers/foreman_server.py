"""This project's server, as a user would run it: foreman and metering on, default limits.

Without ``--work`` it is an echo on one listener. With it, it has two, which differ in nothing but
in what their connections declare, and handlers that do what a message orders
(`benchmark.peers.work`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial

from attrs import asdict, frozen

from benchmark.peers.events import EventLog
from benchmark.peers.program import Options, announce, positive
from benchmark.peers.work import DECLARE, LITTER, WORK, Work, declared_latency, make_garbage
from foreman import Action, BestFit, Demand, Foreman, Infeasible, Place, Placement, Snapshot, Spawn
from netserver import Connection, Deflate, Server

STRICT = 0.010  # seconds
SLOW = 1.0


class Echo(Connection):
    required_latency = STRICT

    def on_message(self, message: bytes | str) -> None:
        self.send(message)


class Strict(Connection):
    """An echo that obeys orders."""

    required_latency = STRICT
    work: Work

    def on_message(self, message: bytes | str) -> None:
        if isinstance(message, bytes):
            self.obey(message)
        self.send(message)

    def obey(self, message: bytes) -> None:
        """Do what the message orders, if it is an order."""
        order = message[:1]
        if order == WORK:
            self.work.carry_out()
        elif order == LITTER:
            make_garbage()
        elif order == DECLARE and (latency := declared_latency(message)):
            try:
                self.required_latency = latency
            except Infeasible:
                pass  # the Foreman's event says so


class Slow(Strict):
    """The same for connections that declare what a slow handler can keep."""

    required_latency = SLOW


@frozen(kw_only=True)
class FixedNodes(BestFit):
    """So many nodes whatever anybody declares, the emptiest next."""

    nodes: int

    def place(
        self, demand: Demand, snapshot: Snapshot, home: str | None = None, avoid: str | None = None
    ) -> Placement:
        if len(snapshot.nodes) < self.nodes:
            return Spawn("there are to be more")
        emptiest = min(snapshot.nodes, key=lambda node: node.count)
        return Place(emptiest.name, "the emptiest")

    def review(self, snapshot: Snapshot) -> Sequence[Action]:
        return ()


def main() -> None:
    parser = argparse.ArgumentParser()
    Work.add_options(parser)
    parser.add_argument(
        "--fixed-nodes", type=positive, help="so many nodes instead of those needed"
    )
    options, found = Options.parse(parser)
    work = Work.chosen(found)
    policy = None if found.fixed_nodes is None else FixedNodes(nodes=found.fixed_nodes)
    log = EventLog()
    with Foreman(policy=policy, on_event=log.note) as foreman:
        serve(foreman, options, work, log)


def serve(foreman: Foreman, options: Options, work: Work | None, log: EventLog) -> None:
    """Listen, announce it, and serve until SIGTERM."""
    server = Server(foreman=foreman)
    kinds: tuple[type[Connection], ...] = (Echo,)
    if work is not None:
        Strict.work = work
        kinds = (Strict, Slow)
    listeners = [
        server.listen(
            options.url(index=index),
            kind,
            tls=options.tls(),
            compression=Deflate() if options.deflate else None,
        )
        for index, kind in enumerate(kinds)
    ]
    server.start()
    urls = [
        options.url(listener.address[1] if isinstance(listener.address, tuple) else 0, index)
        for index, listener in enumerate(listeners)
    ]
    announce(urls, partial(statistics, foreman, log))
    server.run()


def statistics(foreman: Foreman, log: EventLog) -> dict[str, object]:
    """The nodes and counts as they are, and the last events.

    ``now`` and ``started`` are of `time.monotonic`; an event was at ``started`` + its ``at``.
    """
    found = foreman.statistics()
    return {
        "now": time.monotonic(),
        "started": log.started,
        "nodes": [asdict(node) for node in found.nodes],
        "counts": found.events,
        "events": log.events(),
    }


if __name__ == "__main__":
    main()
