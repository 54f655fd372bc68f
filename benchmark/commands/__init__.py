"""The commands of ``python -m benchmark``, each a module: its options, its run, its results file.

A command's module has ``add_options(commands)``, which adds its parser and names the coroutine
function behind it, ``run(options, arguments, console)``, by ``set_defaults(run=run)``. What it
measures is in a module of its own, one level up. It may have ``KEPT``, a `benchmark.kept.Kept`:
the run whose results are kept in `benchmark/results`, and what the documents show of them.
"""

from __future__ import annotations

import argparse

from benchmark.commands import all as every
from benchmark.commands import (
    broadcast,
    cluster,
    echo,
    hostile,
    idle_cpu,
    idle_memory,
    kill,
    mixed,
    moves,
    outage,
    policy,
    report,
)
from benchmark.kept import Kept

COMMANDS = (
    echo,
    broadcast,
    mixed,
    moves,
    hostile,
    cluster,
    kill,
    outage,
    policy,
    idle_memory,
    idle_cpu,
    every,
    report,
)


def all_kept() -> list[Kept]:
    """What is kept, of all commands."""
    return [command.KEPT for command in COMMANDS if hasattr(command, "KEPT")]


def build_parser() -> argparse.ArgumentParser:
    """The options of every command; what is parsed has the command's ``run`` in it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark",
        description="Measure the server, alone or beside others, on this machine.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_options(commands)
    return parser
