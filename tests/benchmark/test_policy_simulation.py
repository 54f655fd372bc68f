"""The simulation of the policy: its truth, its workers, and the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from benchmark.__main__ import main
from benchmark.commands.policy import KEPT
from benchmark.simulation.figures import figures_of
from benchmark.simulation.node import Promises, SimNode
from benchmark.simulation.population import (
    HEAVY,
    KINDS,
    LOOSE,
    OUTSIZED,
    PROMPT,
    STRICT,
    Kind,
    counts_of,
    fewest_nodes,
)
from benchmark.simulation.worker import SimWorker
from benchmark.simulation.world import Settings, World

PERIOD = 0.5


def settings(workers: int = 200, **changes: object) -> Settings:
    values: dict[str, object] = {
        "workers": workers,
        "seconds": 5.0,
        "settle": 15.0,
        "lock": False,
        "max_nodes": 100,
        "seed": 1,
        **changes,
    }
    return Settings(**values)  # type: ignore[arg-type]


# ---------------------------------------------------------------- who there is


@pytest.mark.parametrize("workers", [10, 1_000, 100_000])
def test_there_are_some_of_every_kind(workers: int) -> None:
    counts = counts_of(workers)
    assert set(counts) == set(KINDS)
    assert min(counts.values()) >= 1
    assert sum(counts.values()) == workers


@pytest.mark.parametrize(
    ("counts", "load", "parallel", "expected"),
    [
        ({STRICT: 10}, 0.1, True, 1),
        ({STRICT: 10}, 1.7, True, 3),
        ({STRICT: 10, LOOSE: 10}, 0.1, True, 2),  # one would wait 20 ms for the other
        ({PROMPT: 10, LOOSE: 10}, 0.1, True, 1),
        ({STRICT: 10, OUTSIZED: 3}, 0.1, True, 4),
        ({STRICT: 10, OUTSIZED: 3}, 0.1, False, 2),
    ],
)
def test_the_fewest_nodes(
    counts: dict[Kind, int], load: float, parallel: bool, expected: int
) -> None:
    assert fewest_nodes(counts, load, 0.8, parallel=parallel) == expected


def test_costs_wander_and_stay_about_what_they_were() -> None:
    random = Random(1)
    worker = SimWorker.born(STRICT, 1.0, 0.0, random)
    holds = []
    for minute in range(1, 2000):
        worker.drift(60.0 * minute, 1.0, random)
        holds.append(worker.hold)
    holds.sort()
    assert holds[1000] == pytest.approx(STRICT.hold, rel=0.2)
    assert holds[1900] > 2 * holds[1000]


def test_a_worker_runs_as_often_as_it_is_due() -> None:
    random = Random(1)
    worker = SimWorker(kind=STRICT, hold=0.001, rate=20.0, seen=0.0)
    runs = 0
    for window in range(1000):
        due = worker.run(window * PERIOD, PERIOD, 1.0, random)
        assert due == (window + 1) * PERIOD
        assert worker.longest <= worker.held
        runs += worker.ran
    assert runs == pytest.approx(10_000, rel=0.05)
    worker.rate = 0.01
    gaps = [worker.run(0.0, PERIOD, 1.0, random) for _ in range(2000)]
    assert sum(gaps) / len(gaps) == pytest.approx(100, rel=0.1)


# ---------------------------------------------------------------- the truth


def active(kind: Kind, hold: float, runs: int = 1) -> SimWorker:
    worker = SimWorker(kind=kind, hold=hold, rate=1.0, seen=0.0)
    worker.ran, worker.longest, worker.held = runs, hold, runs * hold
    return worker


def serve(*workers: SimWorker, lock_wait: float = 0.0, backlog: float = 0.0) -> Promises:
    promises = Promises()
    node = SimNode(name="a", active=list(workers), backlog=backlog)
    missed = node.serve(PERIOD, lock_wait, promises)
    assert missed == (promises.late + promises.late_outsized > 0) or len(workers) == 1
    return promises


def test_who_waits_for_nobody_is_in_time() -> None:
    promises = serve(active(LOOSE, 0.4))
    assert promises.runs == 1
    assert promises.late == 0


def test_short_holds_keep_every_promise() -> None:
    promises = serve(active(STRICT, 0.001, 10), active(LOOSE, 0.005, 2))
    assert promises.runs == 12
    assert promises.late == 0
    assert promises.held == pytest.approx(0.02)


def test_a_long_hold_makes_late_who_comes_in_its_first_part() -> None:
    promises = serve(active(STRICT, 0.0, 100), active(LOOSE, 0.060))
    # 50 ms of 500 ms, and a little more for the queue.
    assert promises.late == pytest.approx(10, rel=0.2)
    assert promises.late >= 10
    assert promises.runs == 101


def test_an_offender_is_counted_apart_and_does_not_wait_for_itself() -> None:
    promises = serve(active(STRICT, 0.0, 100), active(OUTSIZED, 0.060))
    assert promises.outsized == 1
    assert promises.late_outsized == 0
    assert promises.runs == 100
    assert promises.late > 0


def test_the_lock_and_what_is_left_over_make_everybody_late() -> None:
    assert serve(active(STRICT, 0.0, 5), active(PROMPT, 0.0, 3), lock_wait=0.05).late == 5
    assert serve(active(STRICT, 0.0, 5), active(PROMPT, 0.0, 3), backlog=0.2).late == 8


def test_what_cannot_be_done_in_a_window_is_left_over() -> None:
    node = SimNode(name="a", active=[active(LOOSE, 0.4), active(LOOSE, 0.3)])
    node.serve(PERIOD, 0.0, Promises())
    assert node.backlog == pytest.approx(0.2)
    node.active = []
    node.serve(PERIOD, 0.0, Promises())
    assert node.backlog == 0.0


# ---------------------------------------------------------------- the whole


def test_a_simulation_repeats_itself() -> None:
    found = []
    for _ in range(2):
        world = World(settings())
        for _now in world.run():
            pass
        tally = world.tally
        found.append((tally.promises.runs, tally.promises.late, tally.moves, tally.nodes))
    assert found[0] == found[1]


@pytest.mark.parametrize("lock", [False, True])
def test_everybody_counts_somewhere_and_few_wait_too_long(lock: bool) -> None:
    chosen = settings(lock=lock, max_nodes=8 if lock else 100, settle=40.0)
    world = World(chosen)
    for now in world.run():
        counted = sum(node.roster.count for node in world.nodes)
        assert counted <= chosen.workers
        if now > 10.5:
            assert counted == chosen.workers
        assert len(world.nodes) <= chosen.max_nodes
    figures = figures_of(world, chosen)
    assert figures.kept > 0.99
    assert figures.refused == 0
    assert figures.fewest_possible <= figures.fewest_seen
    assert figures.fewest_seen <= figures.nodes <= figures.most_seen
    assert figures.placement_p99 >= figures.placement_p50 > 0


def test_heavy_ones_do_not_stay_with_those_they_harm() -> None:
    world = World(settings(workers=2_000, settle=20.0))
    for _now in world.run():
        pass
    for node in world.nodes:
        seats = node.roster.members()
        strict = [seat for seat in seats if seat.worker.kind is STRICT and seat.demand.measured]
        loose = [seat for seat in seats if seat.worker.kind is LOOSE and seat.worker.peak > 0.01]
        assert not (strict and loose)
    assert HEAVY.hold < STRICT.required_latency


# ---------------------------------------------------------------- the command


def test_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    short = ("--settle", "12", "--seconds", "3", "--json", str(path))
    assert main(["policy", "--workers", "50,100", *short]) == 0
    shown = capfd.readouterr().out
    assert "nodes in parallel: 3 s after 12 s" in shown
    found = json.loads(path.read_text())
    results = found["results"]
    assert f"| 100 | {results[1]['kept']:.3%} |" in KEPT.blocks["policy"](found)
    assert [one["workers"] for one in results] == [50, 100]
    assert all(one["placements"] > 0 or one["spawned"] >= 0 for one in results)
    assert main(["policy", "--workers", "50", "--lock", *short]) == 0
    assert "one interpreter lock" in capfd.readouterr().out


@pytest.mark.parametrize(
    "options", [["--workers", "9"], ["--workers", "many"], ["--settle", "1"], ["--seconds", "0"]]
)
def test_nonsense_is_refused(capfd: pytest.CaptureFixture[str], options: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["policy", *options])
    assert refused.value.code == 2
    assert options[0] in capfd.readouterr().err


def test_an_interrupt_ends_it(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-u", "-m", "benchmark", "policy", "--workers", "50,200000"),
        *("--settle", "10", "--seconds", "1", "--json", str(tmp_path / "results.json")),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first size is done
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=50)
    assert process.returncode == 130
    assert b"interrupted" in errors
    assert b"Traceback" not in errors
