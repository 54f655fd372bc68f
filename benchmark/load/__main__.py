"""The load process: a plan as JSON on standard input, progress and the result on standard output.

Every line out is one JSON object with one key: ``connected`` (a number; the load begins when
another line comes in), ``progress`` (seconds and messages so far), ``result``, or ``error``. It
ends when whoever reads its output is gone.
"""

from __future__ import annotations

import json
import sys

from attrs import asdict

from benchmark.load.client import LoadError
from benchmark.load.plan import Plan
from benchmark.load.run import run


def _say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def main() -> int:
    """Run the plan that standard input holds; the exit status is 1 when it failed."""
    try:
        plan = Plan(**json.loads(sys.stdin.readline()))

        def wait_for_start() -> None:
            _say(connected=plan.connections)
            if not sys.stdin.readline():
                raise LoadError("nobody is there to start the load")

        result = run(
            plan, lambda seconds, messages: _say(progress=[seconds, messages]), wait_for_start
        )
    except (LoadError, ValueError) as error:
        _say(error=str(error))
        return 1
    _say(result=asdict(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
