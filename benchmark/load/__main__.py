"""The closed loop as a process: a plan on standard input, as `benchmark.load.talk` says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from attrs import asdict

from benchmark.load.plan import Plan
from benchmark.load.run import run
from benchmark.load.talk import answer


def main() -> int:
    """Run the plan that standard input holds; the exit status is 1 when it failed."""

    def carry_out(
        plan: Any, progress: Callable[[float, int], None], connected: Callable[[], None]
    ) -> dict[str, Any]:
        return asdict(run(Plan(**plan), progress, connected))

    return answer(carry_out)


if __name__ == "__main__":
    sys.exit(main())
