"""Finding a Python 2.7, which the suite needs and which few systems still have."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from conformance.errors import NoPython27

PROBE_TIMEOUT = 30.0  # seconds
_NAMES = ("python2.7", "python2", "python")
_HINT = (
    "Install one, for example with pyenv (pyenv install 2.7.18), and name it with --python PATH"
    " where it is not found by itself."
)


def find(given: str | None = None) -> Path:
    """A Python 2.7 that runs: the one given, else one on the PATH, else one of pyenv's.

    Args:
        given: A path or a command; None to look for one.

    Raises:
        NoPython27: There is none, or the one given is something else.
    """
    if given is not None:
        found = shutil.which(given)
        if found is None:
            raise NoPython27(f"{given} is no program that can be run")
        if not _is_27(found):
            raise NoPython27(f"{given} does not run as a Python 2.7")
        return Path(found)
    looked = list(dict.fromkeys(_candidates()))
    for candidate in looked:
        if _is_27(candidate):
            return Path(candidate)
    tried = f", not even {' or '.join(looked)}" if looked else ""
    raise NoPython27(f"no Python 2.7 was found{tried}; the Autobahn test suite needs one. {_HINT}")


def _candidates() -> Iterator[str]:
    for name in _NAMES:
        found = shutil.which(name)  # perhaps one of pyenv's shims that leads nowhere
        if found is not None:
            yield found
    for root in _pyenv_roots():
        yield from map(str, sorted((root / "versions").glob("2.7*/bin/python2.7"), reverse=True))


def _pyenv_roots() -> Iterator[Path]:
    if root := os.environ.get("PYENV_ROOT"):
        yield Path(root)
    for folder in os.get_exec_path():
        if os.path.basename(folder) == "shims":  # they need the variable, which may be missing
            yield Path(folder).parent
    yield Path.home() / ".pyenv"


def _is_27(program: str) -> bool:
    """Whether it runs, and is what it should be."""
    try:
        done = subprocess.run(
            [program, "-c", "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=PROBE_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout == b"2.7"
