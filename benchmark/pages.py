"""The documents that hold measured figures and pictures, written from the kept results."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import field, frozen

from benchmark.errors import BenchmarkError
from benchmark.kept import Kept, Results
from benchmark.picture import shows

BEGIN = re.compile(r"^<!-- benchmark:([\w.-]+) -->$")
END = "<!-- end -->"
NOT_MEASURED = "*Not measured yet.*"


def fill(text: str, write: Callable[[str], str]) -> str:
    """Write anew what stands between markers.

    Args:
        text: A document.
        write: Gives the text between the markers of a name; it raises BenchmarkError where it
            knows no such name.

    Raises:
        BenchmarkError: A marker has no end, or an end no marker.
    """
    lines: list[str] = []
    inside = None
    for line in text.splitlines():
        begins = BEGIN.match(line)
        if inside is not None and begins is not None:
            break
        if inside is None:
            lines.append(line)
            if line == END:
                raise BenchmarkError(f"{END} without a beginning")
        elif line == END:
            lines.append(line)
            inside = None
        if begins is not None:
            inside = begins[1]
            lines.append(write(inside).strip("\n"))
    if inside is not None:
        raise BenchmarkError(f"<!-- benchmark:{inside} --> has no {END}")
    return "\n".join(lines) + "\n"


@frozen(kw_only=True, slots=False)
class Pages:
    """README.md and docs/*.md with its pictures.

    Args:
        kept: What there is to be shown.
        results: The directory with the results files; what has none is "not measured yet", or
            left as it is where it is a picture.
        root: The directory with README.md and docs.
    """

    kept: Sequence[Kept]
    results: Path
    root: Path
    _read: dict[str, Results | None] = field(factory=dict, init=False, repr=False)

    def update(self, *, write: bool) -> list[Path]:
        """Find what is not as the results say.

        Args:
            write: Whether to write it.

        Raises:
            BenchmarkError: A marker or a results file is not as it should be.
        """
        stale = []
        for path in (self.root / "README.md", *sorted((self.root / "docs").glob("*.md"))):
            text = path.read_text()
            filled = fill(text, self._block)
            if filled != text:
                stale.append(path)
                if write:
                    path.write_text(filled)
        for path, draw, results in self._pictures():
            if not shows(path, results):
                stale.append(path)
                if write:
                    draw(path, results)
        return stale

    def _block(self, marker: str) -> str:
        kept = self._by_marker.get(marker)
        if kept is None:
            raise BenchmarkError(
                f"no benchmark has a block {marker!r}: {', '.join(self._by_marker)}"
            )
        results = self._load(kept.name)
        return NOT_MEASURED if results is None else kept.blocks[marker](results)

    @cached_property
    def _by_marker(self) -> dict[str, Kept]:
        return {marker: kept for kept in self.kept for marker in kept.blocks}

    def _pictures(self) -> Iterator[tuple[Path, Callable[[Path, Results], None], Results]]:
        for kept in self.kept:
            for name, draw in kept.pictures.items():
                results = self._load(kept.name)
                if results is not None:
                    yield self.root / "docs" / name, draw, results

    def _load(self, name: str) -> Results | None:
        if name not in self._read:
            path = self.results / f"{name}.json"
            try:
                found: dict[str, Any] | None = json.loads(path.read_text())
            except FileNotFoundError:
                found = None
            except ValueError as error:
                raise BenchmarkError(f"{path} is no JSON: {error}") from error
            self._read[name] = found
        return self._read[name]
