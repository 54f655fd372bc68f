"""Erlang/OTP: a process per connection. The program is `erlang_server.erl`, compiled in advance."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from benchmark.peers.program import Options, positive
from benchmark.peers.work import Work

# A scheduler that finds nothing to do sleeps, as the threads of every other server here do.
NO_BUSY_WAIT = ("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none")


def main() -> None:
    parser = argparse.ArgumentParser()
    Work.add_options(parser)
    parser.add_argument("--program", required=True, type=Path, help="what `compiler.ERLANG` made")
    parser.add_argument("--processors", type=positive, default=2, help="schedulers")
    _, found = Options.parse(parser, ("tcp",))
    arguments = [
        "erl",
        *("+S", f"{found.processors}:{found.processors}"),
        *NO_BUSY_WAIT,
        "-noshell",
        *("-pa", str(found.program.parent)),
        *("-s", found.program.stem, "main"),
        *("-extra", found.work or "none", f"{found.hold:.6f}"),
    ]
    os.environ.setdefault("HOME", str(found.program.parent))  # which erl does not start without
    os.execv(shutil.which("erl") or "erl", arguments)  # the process keeps its id


if __name__ == "__main__":
    main()
