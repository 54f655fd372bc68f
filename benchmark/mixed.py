"""The mixed scenario: strict and loose connections together on one server.

The strict ones send at a fixed rate, and their latency counts from the scheduled time, so that a
stall is not hidden. The loose ones, each with a message under way all the time, keep their
handlers busy. The same load then meets the same server confined to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from attrs import evolve, frozen

from benchmark.load.plan import Plan, Result
from benchmark.processes import Server, choose_cpus, run_load, running_server
from benchmark.servers import OURS, SERVERS
from benchmark.workspace import Workspace

STRICT_LATENCY = 0.010  # seconds, as benchmark.peers.foreman_server declares them
LOOSE_LATENCY = 2.0
ARRANGEMENTS = {"foreman": (), "one event loop": ("--fixed-nodes", "1")}


@frozen(kw_only=True)
class Mixed:
    """What to measure.

    Args:
        transport: The URL scheme of both listeners.
        strict: Connections that declare `STRICT_LATENCY`.
        rate: Messages a second that each strict connection sends.
        loose: Connections that declare `LOOSE_LATENCY`.
        work: What a loose handler does with a message: ``compute`` or ``sleep``.
        hold: For how long, seconds.
        size: Payload of a message, bytes.
        seconds: Measured in each arrangement.
        warmup: Seconds of load before each measurement.
    """

    transport: str
    strict: int
    rate: float
    loose: int
    work: str
    hold: float
    size: int
    seconds: float
    warmup: float


@frozen(kw_only=True)
class Outcome:
    """What one arrangement came to.

    Args:
        arrangement: A key of `ARRANGEMENTS`.
        strict: The strict connections' round trips.
        loose: The loose connections' round trips.
        nodes: The server's statistics of its nodes, taken under load.
    """

    arrangement: str
    strict: Result
    loose: Result
    nodes: list[dict[str, Any]]


async def run_arrangement(
    mixed: Mixed,
    arrangement: str,
    workspace: Workspace,
    progress: Callable[[float, int], None],
) -> Outcome:
    """Put a fresh server under both loads at once.

    Raises:
        BenchmarkError: The server or a load failed.
    """
    server_cpu, client_cpu = choose_cpus()
    options = ("--loose", mixed.work, "--hold", str(mixed.hold), *ARRANGEMENTS[arrangement])
    async with running_server(
        SERVERS[OURS], mixed.transport, workspace, server_cpu, options
    ) as server:
        strict = Plan(
            url=server.urls[0],
            connections=mixed.strict,
            rate=mixed.rate,
            size=mixed.size,
            seconds=mixed.seconds,
            warmup=mixed.warmup,
            stall=max(5.0, 2 * mixed.loose * mixed.hold),
            certificate=workspace.authority,
            library=workspace.library,
            server_pid=server.child.pid,
        )
        loose = evolve(strict, url=server.urls[1], connections=mixed.loose, rate=None)
        together = asyncio.Barrier(3)
        half_way = mixed.warmup + mixed.seconds / 2
        try:
            async with asyncio.TaskGroup() as group:
                strict_run = group.create_task(run_load(strict, client_cpu, progress, together))
                loose_run = group.create_task(
                    run_load(loose, client_cpu, lambda *_: None, together)
                )
                nodes = group.create_task(_nodes_after(half_way, server, together))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
    return Outcome(
        arrangement=arrangement,
        strict=strict_run.result(),
        loose=loose_run.result(),
        nodes=nodes.result(),
    )


async def _nodes_after(
    seconds: float, server: Server, together: asyncio.Barrier
) -> list[dict[str, Any]]:
    await together.wait()
    await asyncio.sleep(seconds)
    nodes: list[dict[str, Any]] = (await server.statistics())["nodes"]
    return nodes
