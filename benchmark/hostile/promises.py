"""What has to hold whatever is sent: moves lose nothing, parsers fail in no way but their own."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from importlib.util import find_spec

from attrs import evolve

from benchmark.errors import BenchmarkError
from benchmark.hostile.ground import Finding, Ground
from benchmark.moves import Kind, Moves, Turn, run_turn, together
from fuzz.targets import TARGETS

STREAMS = 200
MOVES = Moves(
    transport="ws", connections=STREAMS, in_flight=1, size=128, nodes=3, moves=0, at_once=8,
    paced=5.0, rate=None, seconds=10.0, warmup=0.0, rounds=1, seed=0,
)  # fmt: skip
MOST_TURNS = 20  # after which the moves asked for are not to be had


async def moves(ground: Ground) -> list[Finding]:
    """Numbered streams both ways, of which every byte is compared, moved all the time.

    Raises:
        BenchmarkError: Something was lost, doubled or out of order; or there were too few moves.
    """
    asked = ground.scale.moves * STREAMS
    plan = evolve(MOVES, seconds=ground.scale.seconds)
    turns: list[Turn] = []
    while (done := sum(turn.done for turn in turns)) < asked:
        if len(turns) == MOST_TURNS:
            raise BenchmarkError(f"only {done:,} of {asked:,} moves")
        ground.say(f"{done:,} of {asked:,} moves of {STREAMS} streams")
        number = len(turns) + 1
        turns.append(await run_turn(plan, number, Kind.PACED, ground.workspace, lambda *_: None))
    messages = sum(turn.result.messages for turn in turns)
    pause = together(turns).percentile(99) / 1e6
    return [
        # Anything else would have ended the turn.
        Finding(
            what=f"lost, doubled, reordered, of {messages:,} in {done:,} moves",
            value=0, bound=0, unit="",
        ),
        Finding(what="pause, p99", value=pause, bound=5, unit="ms"),
    ]  # fmt: skip


async def fuzz(ground: Ground) -> list[Finding]:
    """Any bytes in any split, guided by coverage, judged by plain wsproto where that can.

    Raises:
        BenchmarkError: The fuzzer's engine is missing.
    """
    if find_spec("atheris") is None:
        raise BenchmarkError("atheris is not installed: pip install 'foreman-server[fuzz]'")
    seconds = round(ground.scale.seconds)
    failed = []
    with tempfile.TemporaryDirectory() as crashes:
        for target in TARGETS:
            ground.say(f"{target}, {seconds} s")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "fuzz", target, "--crashes", crashes),
                *("--seconds", str(seconds)),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            if await process.wait():
                failed.append(target)
    named = f": {', '.join(failed)}" if failed else ""
    what = f"of {len(TARGETS)} parsers, with an input that breaks a promise{named}"
    return [Finding(what=what, value=len(failed), bound=0, unit="")]
