"""What messages of the mixed scenario have a handler do before it echoes them.

The first byte of a payload gives the order:

=====  ===========================================================================================
``!``  work for `Work.hold`: compute, sleep, or half of each
``L``  with a decimal number of seconds behind it, up to a space or the end: our server's
       connection declares that latency; every other server just echoes
``G``  our server makes garbage in reference cycles; every other server just echoes
=====  ===========================================================================================

A server that was not told what work is (``--work``) obeys no orders and echoes everything.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from typing import Any

from attrs import frozen

WORK, DECLARE, LITTER = b"!", b"L", b"G"
HOLD = 0.020  # seconds
LONGEST = 3600.0
CYCLES = 150  # of two objects each

_DECLARED = re.compile(rb"L(\d+(?:\.\d+)?)(?: |\Z)")
_COMPUTED = {"compute": 1.0, "sleep": 0.0, "both": 0.5}  # the share of a hold


@frozen(kw_only=True)
class Work:
    """What a handler does when it is ordered to work. May be shared between threads.

    Args:
        computed: CPU time of the thread, seconds. It is no wall time, so that a thread which has
            to share its processor does no less work.
        slept: Seconds to sleep then, as for a disk or a database.
    """

    computed: float
    slept: float

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Let a program be told what its work is."""
        parser.add_argument("--work", choices=tuple(_COMPUTED), help="obey orders, and work thus")
        parser.add_argument("--hold", type=_seconds, default=HOLD, help="how long to work, seconds")

    @classmethod
    def chosen(cls, found: Any) -> Work | None:
        """The work that the command line asks for, or None when no orders are to be obeyed."""
        if found.work is None:
            return None
        computed = _COMPUTED[found.work] * found.hold
        return cls(computed=computed, slept=found.hold - computed)

    def carry_out(self) -> None:
        """Work on this thread."""
        until = time.thread_time() + self.computed
        while time.thread_time() < until:
            pass
        if self.slept:
            time.sleep(self.slept)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < LONGEST:
        raise argparse.ArgumentTypeError(f"must be 0 to {LONGEST:g} s, not {text!r}")
    return seconds


def declared_latency(message: bytes) -> float | None:
    """The latency that a message has its connection declare, seconds, or None."""
    found = _DECLARED.match(message)
    return float(found[1]) if found else None


def make_garbage() -> None:
    """Leave objects behind that only the garbage collector can free."""
    for _ in range(CYCLES):
        one: list[object] = []
        one.append([one])
