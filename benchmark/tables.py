"""Tables as the commands print them, and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table


def plain_table(*columns: str, label: str | None = None) -> Table:
    """An empty table with a rule below its head and these columns of figures.

    Args:
        columns: The head of each.
        label: The head of a column of words before them; None for none.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    if label is not None:
        table.add_column(label, overflow="fold")  # the figures are never cut
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table in Markdown.

    Args:
        head: The heads of the columns.
        rows: As many cells each.
        words: How many columns, from the left, hold words and not figures.
    """
    lines = [head, ["---" if column < words else "---:" for column in range(len(head))], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
