"""What the project has set itself as a bar, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from benchmark.tables import markdown_table


@frozen(kw_only=True)
class Bar:
    """A figure and what it should be.

    Args:
        what: What was measured, in a few words: "messages a second / picows".
        measured: The figure; None where it was not measured.
        limit: The least it should be, or the most.
        most: Whether `limit` is the most.
        unit: What stands behind a figure; empty for a ratio.
    """

    what: str
    measured: float | None
    limit: float
    most: bool = False
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the figure is as it should be; None where it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.limit if self.most else self.measured >= self.limit

    def described(self) -> dict[str, object]:
        """For the results file; `Bar.read` reads it again."""
        return {
            "what": self.what,
            "measured": self.measured,
            "limit": self.limit,
            "most": self.most,
            "unit": self.unit,
            "met": self.met,
        }

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> Bar:
        """What `described` gave."""
        return cls(**{name: value for name, value in described.items() if name != "met"})

    @property
    def figures(self) -> tuple[str, str, str]:
        """Measured, limit and verdict, as a person reads them."""
        bound = "at most" if self.most else "at least"
        verdict = {True: "met", False: "not met", None: "not measured"}[self.met]
        return self._shown(self.measured), f"{bound} {self._shown(self.limit)}", verdict

    def __str__(self) -> str:
        measured, limit, verdict = self.figures
        return f"{self.what}: {measured} ({limit}: {verdict})"

    def _shown(self, value: float | None) -> str:
        if value is None:
            return "—"
        decimals = 2 - sum(abs(value) >= limit for limit in (10, 100))
        return f"{value:,.{decimals}f}{' ' * bool(self.unit)}{self.unit}"


def bars_table(bars: Iterable[Bar]) -> str:
    """The bars as a table in Markdown."""
    rows = [(bar.what, *bar.figures) for bar in bars]
    return markdown_table(("bar", "measured", "asked", ""), rows)
