"""How a load process talks: a plan as JSON on standard input, JSON lines on standard output.

Every line out is one JSON object with one key: ``connected`` (the load begins when another line
comes in), ``progress`` (seconds and messages so far), ``result``, or ``error``. The process ends
when whoever reads its output is gone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from benchmark.load.client import LoadError

CarryOut = Callable[
    [dict[str, Any], Callable[[float, int], None], Callable[[], None]], dict[str, Any]
]


def answer(carry_out: CarryOut) -> int:
    """Carry out the plan that standard input holds, and say how it went.

    Args:
        carry_out: Takes the plan, what to report progress to, and what to call when every
            connection is open, which returns when the load is to begin; returns the result.

    Returns:
        The exit status: 0, or 1 when it failed.
    """
    try:
        result = carry_out(json.loads(sys.stdin.readline()), _progress, _connected)
    except (LoadError, OSError, ValueError) as error:
        _say(error=str(error))
        return 1
    _say(result=result)
    return 0


def _say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def _progress(seconds: float, messages: int) -> None:
    _say(progress=[seconds, messages])


def _connected() -> None:
    _say(connected=True)
    if not sys.stdin.readline():
        raise LoadError("nobody is there to start the load")
