"""The idle client: opens the connections of a plan and holds them until it is ended."""

from __future__ import annotations

import json
import sys

from benchmark.load.client import LoadError
from benchmark.load.connect import connect_all
from benchmark.load.plan import Plan


def main() -> int:
    """Hold the connections of the plan on standard input, until the end of standard input.

    It writes one JSON line, ``connected`` or ``error``, once it is known.
    """
    try:
        plan = Plan(**json.loads(sys.stdin.readline()))
        sockets = connect_all([plan.url] * plan.connections, plan.certificate)
    except (LoadError, ValueError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    print(json.dumps({"connected": len(sockets)}), flush=True)
    sys.stdin.read()
    for sock in sockets:
        sock.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
