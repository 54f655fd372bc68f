"""The rows of the cluster's benchmark: each measures, shows what came of it, and returns it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import asdict, define, field, frozen
from rich.console import Console
from rich.table import Table

from benchmark.bars import Bar
from benchmark.cluster import report
from benchmark.cluster.backplanes import BACKPLANES, Fabric
from benchmark.cluster.beside import run_bare
from benchmark.cluster.crossing import ALONE, BARE, OURS, Crossings, Turn, run_ours
from benchmark.cluster.memory import measure_broker, measure_memory
from benchmark.cluster.returning import SERVED, lose_a_server
from benchmark.cluster.scaling import count_sizes
from benchmark.cluster.simulation import simulate
from benchmark.progress import Progress
from benchmark.report import disturbance
from benchmark.usage import Bystanders
from benchmark.workspace import Workspace


@frozen(kw_only=True)
class Scale:
    """How large everything is.

    Args:
        rounds: Turns of each side of the crossing.
        sizes: Servers among which frames are counted.
        messages: Of each kind for which they are.
        worlds: Servers that are simulated.
        sample: How many of something its memory is measured on.
        clients: Of the server that is killed.
        strict: Strict connections to each server.
        before: Seconds of strict traffic before the kill.
        patience: Seconds to wait at most until all are served again.
    """

    rounds: int
    sizes: Sequence[int] = (1, 2, 4, 8, 16, 32)
    messages: int = 200
    worlds: Sequence[int] = (10, 100, 1000)
    sample: int = 20_000
    clients: int
    strict: int
    before: float = 2.0
    patience: float = SERVED


@define(eq=False)
class Ground:
    """What every row has at hand.

    Attributes:
        plan: What the crossing is.
        scale: How large everything else is.
        fabrics: The backplanes, running.
        workspace: Where files go.
        console: Where results are shown.
        errors: Where it is told how far it is: standard error.
        bars: What was set as a bar, and measured so far.
    """

    plan: Crossings
    scale: Scale
    fabrics: list[Fabric]
    workspace: Workspace
    console: Console
    errors: Console
    bars: list[Bar] = field(factory=list)

    def say(self, text: str) -> None:
        """Tell how far it is."""
        self.errors.print(text, style="dim", soft_wrap=True)

    def show(self, title: str, table: Table, bars: Sequence[Bar]) -> None:
        """Show what a row came to."""
        self.console.print(title, soft_wrap=True)
        self.console.print(table)
        for bar in bars:
            self.console.print(str(bar), soft_wrap=True)
        self.bars += bars


async def _crossing(ground: Ground) -> dict[str, Any]:
    plan, rounds = ground.plan, ground.scale.rounds
    sides: list[tuple[str, str, Fabric | None]] = [(ALONE, OURS, None)]
    for fabric in ground.fabrics:
        sides += [(fabric.name, OURS, fabric), (fabric.name, BARE, fabric)]
    turns = []
    with Progress(ground.errors, plan.length * len(sides) * rounds) as progress:
        for number in range(rounds):
            for turn in range(len(sides)):
                name, side, on = sides[(number + turn) % len(sides)]
                progress.begin(f"round {number + 1} of {rounds}, {name}, {side}")
                bystanders = Bystanders([] if on is None or on.pid is None else [on.pid])
                if side == BARE:
                    assert on is not None
                    figures = await run_bare(plan, on, progress.update)
                else:
                    figures = await run_ours(plan, on, ground.workspace, progress.update)
                figures["other_cpu"] = bystanders.share()
                turns.append(Turn(round=number + 1, backplane=name, side=side, figures=figures))
                rate, p50 = figures["messages_per_second"], figures["p50_seconds"]
                progress.end(plan.length, f"{rate:,.0f} messages/s, p50 {p50 * 1e3:.3f} ms")
    summary = report.summarize(sorted(turns, key=lambda turn: _order(turn, sides)))
    libraries = {fabric.name: BACKPLANES[fabric.name].library for fabric in ground.fabrics}
    bars = report.crossing_bars(summary)
    rows = report.crossing_rows(summary, libraries)
    title = f"Between two servers: {plan.size} bytes, {plan.pairs} clients each; ms"
    ground.show(title, report.table(report.CROSSING_HEAD, rows), bars)
    other = max(turn.figures["other_cpu"] for turn in turns)
    for line in disturbance(other):
        ground.console.print(line, soft_wrap=True)
    return {
        "settings": asdict(plan),
        "rounds": rounds,
        "libraries": libraries,
        "summary": summary,
        "other_cpu": other,
        "bars": [bar.described() for bar in bars],
        "turns": [asdict(turn) for turn in turns],
    }


def _order(turn: Turn, sides: Sequence[tuple[str, str, Fabric | None]]) -> tuple[int, int]:
    """Sides as they are listed, each in the order of its rounds."""
    order = [(name, side) for name, side, _ in sides]
    return order.index((turn.backplane, turn.side)), turn.round


async def _scaling(ground: Ground) -> dict[str, Any]:
    messages = ground.scale.messages
    counts = []
    for fabric in ground.fabrics:
        counts += await count_sizes(
            fabric, ground.scale.sizes, messages, ground.workspace, ground.say
        )
    described = [count.described() for count in counts]
    bars = report.scaling_bars(described)
    title = f"Many servers, two of them interested: frames for each of {messages} messages"
    ground.show(title, report.table(report.SCALING_HEAD, report.scaling_rows(described)), bars)
    return {
        "messages": messages,
        "counts": described,
        "bars": [bar.described() for bar in bars],
    }


async def _simulation(ground: Ground) -> dict[str, Any]:
    servers, clients = 1000, 10_000_000
    scale = ground.scale
    sends = []
    for number in scale.worlds:
        ground.say(f"{number:,} servers")
        sends += await simulate(number, 100, (2, 10, 100), scale.messages, seed=0)
    ground.say("memory")
    memory = await measure_memory(servers, clients, scale.sample)
    for fabric in ground.fabrics:
        memory += await measure_broker(fabric, clients, scale.sample)
    told, kept = [each.described() for each in sends], [each.described() for each in memory]
    title = "Servers on one loop: frames for each message, with receipts"
    ground.show(title, report.table(report.SIMULATION_HEAD, report.simulation_rows(told)), ())
    title = f"Memory, at {servers:,} servers and {clients:,} clients"
    ground.show(title, report.table(report.MEMORY_HEAD, report.memory_rows(kept)), ())
    return {"servers": servers, "clients": clients, "sends": told, "memory": kept, "bars": []}


async def _returning(ground: Ground) -> dict[str, Any]:
    scale, strict = ground.scale, 2 * ground.scale.strict
    returned, other = [], 0.0
    length = scale.before + scale.patience
    with Progress(ground.errors, length * len(ground.fabrics)) as progress:
        for fabric in ground.fabrics:
            progress.begin(f"{fabric.name}, {scale.clients:,} clients")
            bystanders = Bystanders([] if fabric.pid is None else [fabric.pid])
            found = await lose_a_server(
                fabric,
                scale.clients,
                strict,
                ground.plan.strict_rate,
                scale.before,
                scale.patience,
                ground.workspace,
                progress.update,
            )
            returned.append(found)
            other = max(other, bystanders.share())
            progress.end(length, f"{found.served:,} served again in {found.seconds:.2f} s")
    described = [each.described() for each in returned]
    bars = [bar for each in returned for bar in each.bars()]
    title = f"{scale.clients:,} clients after their server was killed; strict connections in ms"
    rows = report.returning_rows(described)
    ground.show(title, report.table(report.RETURNING_HEAD, rows), bars)
    for line in disturbance(other):
        ground.console.print(line, soft_wrap=True)
    return {
        "other_cpu": other,
        "clients": scale.clients,
        "strict": strict,
        "returned": described,
        "bars": [bar.described() for bar in bars],
    }


ROWS: dict[str, Callable[[Ground], Awaitable[dict[str, Any]]]] = {
    "crossing": _crossing,
    "scaling": _scaling,
    "simulation": _simulation,
    "returning": _returning,
}
