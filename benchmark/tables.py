"""Tables as the commands print them."""

from __future__ import annotations

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
        table.add_column(label, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
