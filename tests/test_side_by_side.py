"""Tests that run in several processes at once, and those that must not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")

# Each file is run by a process of its own. They meet, and then both would be in the same room.
FIRST = """
import time
from pathlib import Path
import pytest

def arrive(name, other):
    Path(name).touch()
    ends = time.monotonic() + 30
    while not Path(other).exists():
        assert time.monotonic() < ends, "they run one after the other"
        time.sleep(0.01)

def stay():
    with open("room", "x"):
        time.sleep(0.5)
    Path("room").unlink()

def test_first_of_two():
    arrive("first", "second")

@pytest.mark.alone
def test_alone():
    stay()
"""
SECOND = """
from test_first import arrive, stay

def test_second_of_two():
    arrive("second", "first")

def test_with_others():
    stay()
"""


@pytest.mark.alone  # what it starts are processes that run tests, too
def test_others_run_side_by_side_and_one_that_is_alone_is(tmp_path: Path) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_first.py").write_text(FIRST)
    (tmp_path / "test_second.py").write_text(SECOND)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\nmarkers = alone\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n2", "--dist=loadfile", "-pno:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
