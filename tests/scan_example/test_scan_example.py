"""The example, as a user would run it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-W", "error", "-m", "scan_example"]


def rows(output: str) -> dict[str, list[str]]:
    """The table's rows, by sensor."""
    lines = [line.split() for line in output.splitlines()]
    return {words[0]: words for words in lines if words and words[0][:4] in ("quic", "slow")}


def test_it_shows_what_it_says() -> None:
    done = subprocess.run(
        [*COMMAND, "--seconds", "1"], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
    table = rows(done.stdout)
    assert sorted(table) == [f"quick-{n}" for n in range(6)] + ["slow-0", "slow-1"]
    quick = {table[name][1] for name in table if name.startswith("quick")}
    slow = {table[name][1] for name in table if name.startswith("slow")}
    assert len(quick) == 1
    assert not quick & slow, "kept apart"
    for words in table.values():
        scans = int(words[-1].partition("/")[2])
        assert scans > 0
    assert "spawned" in done.stdout
    assert "placed" in done.stdout


def test_it_is_interrupted_politely() -> None:
    with subprocess.Popen(
        [*COMMAND, "--seconds", "3600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            placed = 0
            while placed < 8:
                line = process.stdout.readline()
                assert line, "it ended by itself"
                placed += line.strip().startswith("placed")
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=50)
        finally:
            process.kill()
    assert errors == ""
    assert process.returncode == 0
    assert "interrupted" in output
    assert len(rows(output)) == 8


@pytest.mark.parametrize("seconds", ["-1", "0", "nan", "inf", "soon"])
def test_a_duration_that_is_none_is_refused(seconds: str) -> None:
    done = subprocess.run(
        [*COMMAND, f"--seconds={seconds}"], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 2
    assert "--seconds" in done.stderr
    assert "Traceback" not in done.stderr
