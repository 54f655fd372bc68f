"""The server that measures nothing differs from ours in nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from benchmark.peers.unmetered_server import data_received
from netserver.shell import Shell

METERING = (
    "holds",
    "held",
    "timed",
    "else:",
    "hold_began",
    "node.holder",
    "node.take_reading()",
    "node.clock()",
    "node.note(",
)


def steps(function: Callable[..., object]) -> list[str]:
    """What it does, line by line, but for what has to do with measuring."""
    lines = [line.split("  #")[0].strip() for line in inspect.getsource(function).splitlines()]
    told = [line for line in lines if line and not line.startswith(("def ", "#", '"""'))]
    return [
        line
        for line in told
        if not any(word in line for word in METERING)
        and line not in ("connection = self.connection", "node = self.node")
    ]


def test_it_does_what_ours_does_without_measuring() -> None:
    assert steps(data_received) == steps(Shell.data_received)
    assert len(steps(data_received)) > 10
    assert "node.clock()" in inspect.getsource(Shell.data_received)
