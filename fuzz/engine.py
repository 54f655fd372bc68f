"""``python -m fuzz.engine TARGET ...``: libFuzzer, in a process that it ends itself.

What follows the target goes to libFuzzer: its flags, and the directory of its inputs.
"""

from __future__ import annotations

import sys

import atheris

# Before anything imports them: only what is imported within is watched.
with atheris.instrument_imports(
    include=["netwire", "netserver.cluster", "netserver.backplane", "wsproto", "h11"]
):
    from fuzz.targets import TARGETS


def main() -> None:
    """Try inputs until one is refused or the time is over; never returns."""
    _, target, *flags = sys.argv
    atheris.Setup([sys.argv[0], *flags], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
