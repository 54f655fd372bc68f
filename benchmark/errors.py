"""What can go wrong around a measurement; `benchmark.load.client` has what goes wrong in it."""

from __future__ import annotations


class BenchmarkError(Exception):
    """The benchmark cannot be run, or not brought to its end; the message says why."""
