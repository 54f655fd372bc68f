"""The attacker as a process: carries out what its standard input asks for, line by line.

Each line is a JSON object: ``attack``, a name of the catalogue; ``target``, the fields of a
`Target`; ``copies``, how many peers do it at once. It is answered by a line with ``met``, a list of
how each was met, or with ``error``.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from attrs import asdict

from benchmark.hostile.catalogue import ATTACKS
from benchmark.hostile.peer import Attack, Met, Target

STACK = 256 * 1024  # bytes: there may be hundreds of threads


def strike_together(attack: Attack, target: Target, copies: int) -> list[Met]:
    """Have so many peers do it at the same time: all are connected before the first one strikes.

    Raises:
        OSError: One could not connect.
    """
    barrier = threading.Barrier(copies)
    found: list[Met] = []
    failures: list[Exception] = []

    def strike() -> None:
        try:
            found.append(attack.carry_out(target, barrier.wait))
        except Exception as error:
            failures.append(error)
            barrier.abort()  # nobody waits for one who will not come

    threads = [threading.Thread(target=strike) for _ in range(copies)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return found


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order."""
    try:
        found = strike_together(
            ATTACKS[order["attack"]], Target(**order["target"]), order["copies"]
        )
    except (OSError, threading.BrokenBarrierError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"met": [asdict(met) for met in found]}


def main() -> None:
    """Obey until the end of standard input."""
    threading.stack_size(STACK)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
