"""Installing the suite, where that goes wrong; that it goes right, every other test shows."""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.errors import InstallFailed
from conformance.suite import VERSION, Suite, install

# An interpreter as far as anybody looks before it is to install something.
POOR = 'case "$2" in *version_info*) printf 2.7;; *) echo "No module named $2"; exit 1;; esac'


def test_it_cannot_install(tmp_path: Path, program: Callable[..., Path]) -> None:
    python = program(POOR)
    with pytest.raises(InstallFailed, match=r"pip failed\nNo module named pip\n\(all of it is in "):
        asyncio.run(install(tmp_path / "cache", str(python)))
    assert not list((tmp_path / "cache").glob("*/suite.json"))


@pytest.mark.parametrize("description", [None, "", "{", '{"made with": "another"}'])
def test_what_is_incomplete_is_made_anew(
    tmp_path: Path, program: Callable[..., Path], description: str | None
) -> None:
    folder = tmp_path / "cache" / f"autobahntestsuite-{VERSION}"
    (folder / "environment").mkdir(parents=True)
    if description is not None:
        (folder / "suite.json").write_text(description)
    told: list[str] = []
    with pytest.raises(InstallFailed):
        asyncio.run(install(tmp_path / "cache", str(program(POOR)), told.append))
    assert f"installing the Autobahn test suite {VERSION}" in told[0]
    assert not (folder / "environment").exists()


def test_one_whose_interpreter_is_gone_is_made_anew(
    tmp_path: Path, program: Callable[..., Path]
) -> None:
    python = program(POOR)
    folder = tmp_path / "cache" / f"autobahntestsuite-{VERSION}"
    (folder / "environment" / "bin").mkdir(parents=True)
    (folder / "environment" / "bin" / "python").symlink_to("/nowhere/python2.7")
    description = {"made with": str(python), "cases": ["1.1.1"], "versions": {}}
    (folder / "suite.json").write_text(json.dumps(description))
    with pytest.raises(InstallFailed, match="pip failed"):
        asyncio.run(install(tmp_path / "cache", str(python)))


def test_one_that_is_there_is_taken(tmp_path: Path, suite: Suite) -> None:
    """Without a look for an interpreter, which may be elsewhere by now."""
    cache = suite.python.parents[3]
    told: list[str] = []
    assert asyncio.run(install(cache, None, told.append)) == suite
    assert told == []
    assert suite.versions["autobahntestsuite"] == VERSION


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InstallFailed, match="cannot be made"):
        asyncio.run(install(tmp_path / "file" / "cache"))


def test_two_at_a_time(tmp_path: Path, program: Callable[..., Path]) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    with (cache / f"autobahntestsuite-{VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def tell(line: str) -> None:
            told.append(line)
            if line.startswith("waiting"):
                fcntl.flock(lock, fcntl.LOCK_UN)

        told: list[str] = []
        with pytest.raises(InstallFailed):
            asyncio.run(install(cache, str(program(POOR)), tell))
    assert [line.split()[0] for line in told] == ["waiting", "installing"]
