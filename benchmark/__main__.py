"""``python -m benchmark``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from benchmark.errors import BenchmarkError
from benchmark.load.client import LoadError

INTERRUPTED = 130  # what a shell reports for a command ended by SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, or 1 with a message on standard error.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if find_spec("rich") is None:
        print("rich is not installed: pip install 'foreman-server[bench]'", file=sys.stderr)
        return 1
    from rich.console import Console

    from benchmark.commands import build_parser
    from benchmark.processes import raise_descriptor_limit

    options = build_parser().parse_args(arguments)
    raise_descriptor_limit()
    try:
        asyncio.run(options.run(options, arguments, Console(highlight=False)))
    except (BenchmarkError, LoadError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmark: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
