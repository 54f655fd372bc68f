"""Whom the suite can be run against, and one run of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmark.errors import BenchmarkError
from benchmark.processes import READY_TIMEOUT, child
from benchmark.workspace import open_workspace
from conformance.cases import Selection
from conformance.errors import RunFailed
from conformance.fuzzer import fuzz_server, fuzzing_server, read_index
from conformance.gate import Verdict, judge
from conformance.suite import Suite

SERVERS = {"server-ws": "ws", "server-wss": "wss"}
SIDES = (*SERVERS, "client")


@frozen(kw_only=True)
class Outcome:
    """What one side's run gave.

    Args:
        side: Whose.
        verdict: How it was judged.
        reports: The folder of the suite's reports.
        seconds: How long it took.
    """

    side: str
    verdict: Verdict
    reports: Path
    seconds: float


async def run_side(
    side: str,
    suite: Suite,
    selection: Selection,
    folder: Path,
    on_case: Callable[[str], None],
    silence: float,
) -> Outcome:
    """Run the suite against one side.

    Args:
        side: One of `SIDES`; also the agent in the suite's reports.
        suite: The suite.
        selection: The cases.
        folder: Where the reports go; what was there before is removed, for a case that was not
            run must not be judged by an old report.
        on_case: Called with each case that begins.
        silence: How long nothing may happen, seconds.

    Raises:
        NoSuchCase: The selection fits nothing.
        RunFailed: A program failed or fell silent.
    """
    cases = selection.choose(suite.cases)
    _empty(folder)
    began = time.monotonic()
    run = _run_server if side in SERVERS else _run_client
    try:
        index = await run(side, suite, cases, folder, on_case, silence)
    except (BenchmarkError, OSError) as error:
        raise RunFailed(f"{side}: {error}") from error
    return Outcome(
        side=side,
        verdict=judge(index, side, cases, selection.count),
        reports=folder,
        seconds=time.monotonic() - began,
    )


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunFailed(f"the reports' folder cannot be made: {error}") from error


async def _run_server(
    side: str,
    suite: Suite,
    cases: Sequence[str],
    folder: Path,
    on_case: Callable[[str], None],
    silence: float,
) -> dict[str, Any]:
    with open_workspace(SERVERS[side], "python") as workspace:
        options = ["--certificate", workspace.certificate] if workspace.certificate else []
        async with child("the server", "conformance.echo_server", options, None) as server:
            ready = await server.read(READY_TIMEOUT)
            (url,) = ready["urls"]
            return await fuzz_server(suite, url, side, cases, folder, on_case, silence)


async def _run_client(
    side: str,
    suite: Suite,
    cases: Sequence[str],
    folder: Path,
    on_case: Callable[[str], None],
    silence: float,
) -> dict[str, Any]:
    async with fuzzing_server(suite, cases, folder) as (fuzzer, url):
        options = ["--url", url, "--agent", side]
        async with child("the client", "conformance.echo_client", options, None) as client:
            said: dict[str, Any] = {}
            try:
                while "done" not in said:
                    said = await client.read(silence)
                    if said.get("count", len(cases)) != len(cases):
                        raise RunFailed(f"the suite has {said['count']} cases, not {len(cases)}")
                    if "case" in said:
                        on_case(cases[said["case"] - 1])
                await client.ended()
            except BenchmarkError as error:
                raise RunFailed(f"{error}\nThe suite said:{fuzzer.tail()}") from error
    return read_index(folder)
