"""The kept inputs: a text file for each target, a line for each input.

Printable ASCII stands for itself and any other byte as ``\\xNN``, so that a line can be read, and
a new one reviewed. A line that begins with ``#`` is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

DIRECTORY = Path(__file__).parent / "corpus"

LONGEST = 2048
"""Bytes of an input that is kept; longer ones are made by `fuzz.seeds`."""

_ODD = re.compile(rb"[^ -~]|\\|^#| $")


def to_line(data: bytes) -> str:
    return _ODD.sub(lambda match: b"\\x%02x" % match[0][0], data).decode("ascii")


def from_line(line: str) -> bytes:
    return re.sub(r"\\x(..)", lambda match: chr(int(match[1], 16)), line).encode("latin-1")


def read(target: str) -> list[bytes]:
    """The kept inputs of a target; none where there is no file."""
    return [from_line(line) for line in _lines(target) if not line.startswith("#")]


def write(target: str, inputs: Iterable[bytes]) -> None:
    """Replace the kept inputs of a target, but for those that a comment says why they are kept."""
    named = _named(target)
    kept = {from_line(line) for line in named}
    others = sorted(set(inputs) - kept - {b""}, key=lambda data: (len(data), data))
    _store(target, [*named, *map(to_line, others)])


def add(target: str, data: bytes, reason: str) -> None:
    """Keep an input for good, with the reason as a comment before it."""
    named = _named(target)
    rest = [line for line in _lines(target) if line not in named]
    _store(target, [*named, f"# {reason}", to_line(data), *rest])


def _store(target: str, lines: Iterable[str]) -> None:
    _path(target).write_text("".join(f"{line}\n" for line in lines), "ascii")


def _path(target: str) -> Path:
    return DIRECTORY / f"{target}.txt"


def _lines(target: str) -> list[str]:
    path = _path(target)
    return path.read_text("ascii").splitlines() if path.exists() else []


def _named(target: str) -> list[str]:
    """The lines with a comment before them, and the comments."""
    named = []
    previous = ""
    for line in _lines(target):
        if line.startswith("#") or previous.startswith("#"):
            named.append(line)
        previous = line
    return named
