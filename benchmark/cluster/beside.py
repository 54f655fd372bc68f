"""The bare library's part in the comparison: two processes of `bare`, on the same backplane."""

from __future__ import annotations

import asyncio
from itertools import chain

from attrs import asdict

from benchmark.cluster.backplanes import Fabric
from benchmark.cluster.bare_plan import BarePlan, BareResult
from benchmark.cluster.crossing import Clocks, Crossings, Note, ignore
from benchmark.histogram import Histogram
from benchmark.processes import choose_cpus, run_process
from benchmark.timeline import SECOND


async def run_bare(plan: Crossings, fabric: Fabric, progress: Note) -> dict[str, float]:
    """Two processes with the client library alone, in the open and then the closed loop.

    Raises:
        BenchmarkError: They do not hear each other, or something failed.
    """
    opened, _ = await _run_sides(plan, fabric, None, progress)
    before = plan.length / 2

    def later(seconds: float, messages: int) -> None:
        progress(before + seconds, messages)

    closed, broker = await _run_sides(plan, fabric, plan.in_flight, later)
    rate = sum(side.messages / side.elapsed for side in closed)
    used = sum(side.cpu for side in closed) * (plan.warmup + plan.seconds)
    histogram = Histogram.from_sparse(
        chain.from_iterable(side.buckets for side in opened), max(side.maximum for side in opened)
    )
    return {
        "p50_seconds": histogram.percentile(50) / SECOND,
        "p99_seconds": histogram.percentile(99) / SECOND,
        "max_seconds": histogram.maximum / SECOND,
        "lost": float(sum(side.lost for side in opened)),
        "messages_per_second": rate,
        **plan.cpu(rate, used, broker),
    }


async def _run_sides(
    plan: Crossings, fabric: Fabric, in_flight: int | None, progress: Note
) -> tuple[list[BareResult], float]:
    where, both = fabric.bare(), asyncio.Barrier(2)
    clocks, cpus = Clocks([], fabric), choose_cpus()

    async def begin() -> None:
        await both.wait()
        clocks.start()

    async def run(side: int) -> BareResult:
        told = BarePlan(
            library=fabric.name,
            where=where,
            side=side,
            pairs=plan.pairs,
            size=plan.size,
            in_flight=in_flight,
            rate=plan.rate,
            warmup=plan.warmup,
            seconds=plan.seconds,
        )
        module, note = "benchmark.cluster.bare", progress if side else ignore
        return BareResult(**await run_process(module, asdict(told), cpus[side], note, begin))

    sides = [asyncio.create_task(run(side)) for side in range(2)]
    try:
        return await asyncio.gather(*sides), clocks.used()[1]
    finally:
        for task in sides:
            task.cancel()
        await asyncio.wait(sides)
