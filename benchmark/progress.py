"""Showing how far a command is: a bar on a terminal, a plain line per run elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """The progress of a command over several runs of known length. One thread uses it.

    Args:
        console: Where to show it.
        total: Seconds of load in all runs together.
    """

    def __init__(self, console: Console, total: float) -> None:
        self._console = console
        self._before = 0.0
        self._name = ""
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[messages]:,} messages"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=total, messages=0)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self, name: str) -> None:
        """A run begins."""
        self._name = name
        self._bar.update(self._task, description=name, messages=0)

    def update(self, seconds: float, messages: int) -> None:
        """The run that began is so far."""
        self._bar.update(self._task, completed=self._before + seconds, messages=messages)

    def end(self, seconds: float, outcome: str) -> None:
        """The run is over; it took so many seconds of the total."""
        self._before += seconds
        self._bar.update(self._task, completed=self._before)
        if not self._console.is_terminal:
            self._console.print(f"{self._name}: {outcome}", soft_wrap=True)
