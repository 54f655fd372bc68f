"""This project's server with the Foreman's measuring off: what measuring and watching cost.

Workers are placed as ever, on assumptions that nothing corrects.
"""

from __future__ import annotations

from benchmark.peers import foreman_server
from foreman.node import Node
from foreman.watcher import Watcher
from netserver.shell import LONG_READ, MOST_WHOLE, WHOLE_READ, Shell


def watch_nothing(watcher: Watcher) -> None:
    """What the Foreman's own thread does instead: it ends."""


def data_received(self: Shell, data: bytes) -> None:
    """`Shell.data_received` without what is measured there."""
    intake = self.intake
    long = len(data) >= LONG_READ
    if long:
        intake.whole_reads = intake.whole_reads + 1 if len(data) >= WHOLE_READ else 0
        if intake.whole_reads >= MOST_WHOLE:
            intake.pause()
    outflow = self.outflow
    if outflow.gathered is None:  # as `Outflow.cork`
        outflow.gathered = []
    try:
        if self.tls is not None:
            data = intake.decrypt(self.tls, data)
        at_once = intake.at_once  # none where something waits
        happened = intake.receive(data) if long or not at_once else self.wire.receive(data)
        if len(happened) > at_once:
            intake.take(happened)
        else:
            intake.hand_out(happened)
    except Exception as error:
        self.ending.fail(error)
    finally:
        outflow.uncork()


def main() -> None:
    Node.enter = Node.leave = staticmethod(id)  # type: ignore[method-assign, assignment]
    Shell.data_received = data_received  # type: ignore[method-assign]
    Watcher._run = watch_nothing  # type: ignore[method-assign, assignment]
    foreman_server.main()


if __name__ == "__main__":
    main()
