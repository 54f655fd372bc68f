"""``python -m netserver.backplane.zeromq keygen DIR [NAME]``: keys for ``zmq://``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from netserver.backplane.zeromq.curve import make_keys


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m netserver.backplane.zeromq", description="Keys for zmq:// with CURVE."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    keygen = commands.add_parser("keygen", help="make a pair of keys")
    keygen.add_argument(
        "folder", metavar="DIR", type=Path, help="where to; made if it is not there"
    )
    keygen.add_argument(
        "name", metavar="NAME", nargs="?", default="server", help="of the files (%(default)s)"
    )
    given = parser.parse_args(arguments)
    try:
        public, secret = make_keys(given.folder, given.name)
    except OSError as error:
        print(f"no keys made: {error}", file=sys.stderr)
        return 1
    print(f"{public} is for the others: trusted={given.folder}")
    print(f"{secret} is for this server alone: key={secret}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
