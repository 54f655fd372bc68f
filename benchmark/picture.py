"""Pictures of results, among them what each class attained over time against what it declared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.kept import Results
from benchmark.mixed import Mixed
from benchmark.record import make_directory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".pdf")
WIDTH, HEIGHT = 9.0, 2.1  # inches, of one panel
SHORTEST, LONGEST = 0.05, 10_000.0  # milliseconds: what every panel shows, so that they compare
_COLOURS = {"strict": "tab:blue", "slow": "tab:orange", "lowering": "tab:purple"}
_MARKS = {"spawned": ("tab:green", "-"), "retired": ("tab:red", "-"), "moved": ("0.6", ":")}


def obstacle(path: Path) -> str | None:
    """Why a picture cannot be drawn into that file, or None when it can."""
    if path.suffix not in SUFFIXES:
        return f"a picture is one of {', '.join(SUFFIXES)}, and {path.name} is not"
    if find_spec("matplotlib") is None:
        return "matplotlib is not installed: pip install 'foreman-server[bench]'"
    return None


def require(path: Path) -> None:
    """Raise BenchmarkError where a picture cannot be drawn into that file."""
    missing = obstacle(path)
    if missing is not None:
        raise BenchmarkError(missing)


def digest(results: Results) -> str:
    """Tells results from others."""
    return sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()


def shows(path: Path, results: Results) -> bool:
    """Whether the picture in that file, if there is one, was drawn from these results."""
    return path.exists() and digest(results) in path.read_text()


def save(figure: Figure, path: Path, results: Results) -> None:
    """Write a picture; an ``.svg`` notes of which results it is.

    Raises:
        BenchmarkError: The file cannot be written.
    """
    make_directory(path)
    metadata = {"Date": None, "Description": digest(results)} if path.suffix == ".svg" else None
    try:
        figure.savefig(path, dpi=150, metadata=metadata)
    except OSError as error:
        raise BenchmarkError(f"the picture cannot be written: {error}") from error


def draw_mixed(path: Path, results: Results) -> None:
    """Draw a panel for each server of the mixed scenario.

    A line is the p99 of a class in each quarter of a second, its shade reaches up to the longest
    latency, and the broken line of its colour is what it declared.

    Raises:
        BenchmarkError: The file cannot be written, or what draws it is not installed.
    """
    require(path)
    from matplotlib.figure import Figure

    mixed, outcomes = Mixed(**results["settings"]), results["outcomes"]
    figure = Figure(figsize=(WIDTH, HEIGHT * len(outcomes) + 0.8), layout="constrained")
    panels = figure.subplots(len(outcomes), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for panel, outcome in zip(panels, outcomes, strict=True):
        _draw_panel(panel, mixed, outcome)
    panels[0].set_ylim(SHORTEST, LONGEST)
    panels[0].set_xlim(0, mixed.length)
    panels[-1].set_xlabel("seconds after the start of the load")
    handles = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    save(figure, path, results)


def _draw_panel(panel: Axes, mixed: Mixed, outcome: Mapping[str, Any]) -> None:
    for name, bins in outcome["timeline"].items():
        times = [each["at"] for each in bins]
        p99 = [each["p99_seconds"] * 1000 for each in bins]
        longest = [each["max_seconds"] * 1000 for each in bins]
        colour = _COLOURS[name]
        panel.plot(times, p99, color=colour, linewidth=1.2, label=f"{name}: p99")
        panel.fill_between(times, p99, longest, color=colour, alpha=0.25, linewidth=0)
        for declared, since, until in mixed.declarations(name):
            panel.plot(
                (since, until),
                (declared * 1000, declared * 1000),
                color=colour,
                linestyle="--",
                linewidth=1,
                label=f"{name}: declared",
            )
    for kind, (colour, style) in _MARKS.items():
        for event in outcome["events"]:
            if event["kind"] == kind and 0 <= event["at"] <= mixed.length:
                panel.axvline(event["at"], color=colour, linestyle=style, linewidth=1, label=kind)
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter("{x:g}")
    panel.set_ylabel("ms")
    panel.set_title(outcome["server"], loc="left", fontsize="medium")
    panel.grid(visible=True, axis="y", alpha=0.3)
