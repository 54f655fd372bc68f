"""Go: a goroutine per connection. The program is `go_server.go`, compiled in advance."""

from __future__ import annotations

import argparse
import os

from benchmark.peers.program import Options, positive
from benchmark.peers.work import Work


def main() -> None:
    parser = argparse.ArgumentParser()
    Work.add_options(parser)
    parser.add_argument("--program", required=True, help="what `compiler.GO` made")
    parser.add_argument("--processors", type=positive, default=2, help="GOMAXPROCS")
    _, found = Options.parse(parser, ("tcp",))
    arguments = [
        found.program,
        f"--work={found.work or ''}",
        f"--hold={found.hold}",
        f"--processors={found.processors}",
    ]
    os.execv(found.program, arguments)  # the process keeps its id, which whoever started it knows


if __name__ == "__main__":
    main()
