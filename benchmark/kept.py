"""What a command keeps in `benchmark/results`, and what the README and the docs show of it.

A command's module may have ``KEPT``, a `Kept`. ``python -m benchmark all --save`` runs every such
command as it says there; ``python -m benchmark report`` writes the documents from the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

Results: TypeAlias = Mapping[str, Any]  # what a results file holds


@frozen(kw_only=True)
class Kept:
    """One command's results file and what is made of it.

    Args:
        name: The command; its file is ``NAME.json``.
        arguments: The options of the run that is kept.
        quick: Further options with which it takes a few seconds, to try whether all is there.
        blocks: By the name of a marker, what writes the Markdown between ``<!-- benchmark:NAME
            -->`` and ``<!-- end -->``, in README.md and docs/*.md.
        pictures: By file name in docs/, an ``.svg``, what draws it there with
            `benchmark.picture.save`, which notes in it of which results it is.
    """

    name: str
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    blocks: Mapping[str, Callable[[Results], str]] = field(factory=dict)
    pictures: Mapping[str, Callable[[Path, Results], None]] = field(factory=dict)


def provenance(results: Results) -> str:
    """A line that says when, on what and by which command results were measured."""
    machine, versions = results["machine"], results["versions"]
    packages = ", ".join(
        f"{name} {version}" for name, version in versions.items() if name != "foreman-server"
    )
    return (
        f"`{results['command']}`, {results['time'][:10]}, {machine['processor']},"
        f" {machine['cpus']} cores, {machine['system']}; {packages}."
    )
