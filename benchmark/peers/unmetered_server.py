"""This project's server with the Foreman's measuring off: what measuring and watching cost.

Workers are placed as ever, on assumptions that nothing corrects. Every call of the meters is one of
a built-in function that does nothing to the point, which costs next to nothing.
"""

from __future__ import annotations

from benchmark.peers import foreman_server
from foreman.node import Node
from foreman.watcher import Watcher


def watch_nothing(watcher: Watcher) -> None:
    """What the Foreman's own thread does instead: it ends."""


def main() -> None:
    Node.enter = Node.leave = staticmethod(id)  # type: ignore[method-assign, assignment]
    Watcher._run = watch_nothing  # type: ignore[method-assign, assignment]
    foreman_server.main()


if __name__ == "__main__":
    main()
