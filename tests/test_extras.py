"""Each program begins with what its extra brings, though nothing else is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "foreman-server"

# What is not there is None among the modules: importing it fails as if it were not installed.
PROGRAM = """
import runpy, sys
program, *absent = sys.argv[1:]
sys.modules.update(dict.fromkeys(absent))
sys.argv = [program, "--help"]
runpy.run_module(program, run_name="__main__")
"""


def brought_by(name: str, extras: frozenset[str]) -> set[str]:
    """The distributions that come with one and its extras, itself among them."""
    brought: set[str] = set()
    open_ends = [(canonicalize_name(name), extras)]
    done = set()
    while open_ends:
        end = open_ends.pop()
        if end in done:
            continue
        done.add(end)
        name, extras = end
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue  # not on this platform, or not needed here
        brought.add(name)
        for line in map(Requirement, lines):
            environments = [{"extra": extra} for extra in extras or {""}]
            if line.marker is None or any(map(line.marker.evaluate, environments)):
                open_ends.append((canonicalize_name(line.name), frozenset(line.extras)))
    return brought


@pytest.mark.parametrize(
    ("program", "extras"),
    [
        ("benchmark", {"bench"}),
        ("chat_example", ()),
        ("conformance", {"bench"}),
        ("fuzz", {"fuzz"}),
        ("scan_example", ()),
    ],
)
def test_a_program_begins_with_what_its_extra_brings(program: str, extras: set[str]) -> None:
    there = brought_by(PROJECT, frozenset(extras))
    absent = [
        module
        for module, owners in packages_distributions().items()
        if not there.intersection(map(canonicalize_name, owners))
        and module not in sys.stdlib_module_names
    ]
    assert "zmq" in absent
    began = subprocess.run(
        [sys.executable, "-c", PROGRAM, program, *absent],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert began.returncode == 0, began.stderr
    assert began.stdout.startswith(f"usage: python -m {program}")
