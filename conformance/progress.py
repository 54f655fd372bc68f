"""Showing how far the runs are: bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

EACH = 100  # cases between two plain lines


class Progress:
    """The progress of several sides at a time. One thread uses it.

    Args:
        console: Where to show it.
        total: How many cases each has.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._begun: dict[str, int] = {}
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[case]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def begin(self, side: str) -> None:
        """A side's run begins."""
        self._begun[side] = 0
        self._tasks[side] = self._bars.add_task(side, total=self._total, case="")
        self._line(f"{side}: {self._total} cases")

    def case(self, side: str, case: str) -> None:
        """One of its cases begins."""
        self._bars.update(self._tasks[side], completed=self._begun[side], case=case)
        self._begun[side] += 1
        if self._begun[side] % EACH == 0:
            self._line(f"{side}: {self._begun[side]} of {self._total} begun, now {case}")

    def end(self, side: str) -> None:
        """Its run is over."""
        self._bars.update(self._tasks[side], completed=self._begun[side], case="")

    def _line(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(line, soft_wrap=True)
