"""``python -m conformance``, end to end: the fast set in full, and how the command ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conformance.__main__ import main
from conformance.suite import VERSION, Suite

# The fast set takes three quarters of a minute on a machine that does nothing else.
pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("suite")]


def conformance(tmp_path: Path, *arguments: str) -> tuple[int, Any]:
    """Its exit status and its results."""
    path = tmp_path / "results.json"
    status = main([*arguments, "--json", str(path), "--reports", str(tmp_path / "reports")])
    return status, json.loads(path.read_text())


def test_the_fast_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, results = conformance(tmp_path, "server-ws", "client", "--fast", "--jobs", "2")
    shown = capfd.readouterr().out
    assert status == 0, shown
    assert results["passed"]
    assert results["settings"]["cases"] == 353
    assert list(results["sides"]) == ["server-ws", "client"]
    for name, side in results["sides"].items():
        assert side["cases"] == side["good"] == 353
        assert set(side["behavior"]) == set(side["behaviorClose"]) == {"OK", "INFORMATIONAL"}
        assert f"{name}: passed, 353 of 353 cases good" in shown
        assert f"{name}: 300 of 353 begun" in shown
    assert results["versions"]["autobahntestsuite"] == VERSION
    assert results["versions"]["python of the suite"].startswith("2.7.")
    assert {"machine", "command", "time"} <= set(results)


def test_some_over_tls(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    patterns = (
        "1.*.[18]",
        "2",
        "3",
        "4.1",
        "5.1*",
        "6.4",
        "7.1",
        "9.1.1",
        "9.2.4",
        "10",
        "12.1.1",
    )
    chosen = [option for pattern in patterns for option in ("--cases", pattern)]
    status, results = conformance(tmp_path, "server-wss", *chosen)
    assert status == 0, capfd.readouterr().out
    assert results["sides"]["server-wss"]["good"] == results["settings"]["cases"] > 48


def test_a_case_that_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str], suite: Suite) -> None:
    """With a suite that wants of one case what nobody does; the rest of it is as it was."""
    spoiled = tmp_path / "cache" / f"autobahntestsuite-{VERSION}"
    (spoiled / "environment" / "bin").mkdir(parents=True)
    wrapper = spoiled / "environment" / "bin" / "python"
    spoil = (
        "import autobahntestsuite.wstest\n"
        "from autobahntestsuite.case import Case1_1_2\n"
        "opened = Case1_1_2.onOpen\n"
        "def onOpen(self):\n"
        "    opened(self)\n"
        "    self.expected = {'OK': [('message', 'something else', False)]}\n"
        "Case1_1_2.onOpen = onOpen\n"
    )
    (spoiled / "spoil.py").write_text(spoil)
    wrapper.write_text(
        "#!/bin/sh\n"
        f"exec {suite.python} -c \"execfile('{spoiled}/spoil.py'); exec('''$2''')\" "
        '"$3" "$4" "$5" "$6"\n'
    )
    wrapper.chmod(0o755)
    description = {"made with": "", "cases": suite.cases, "versions": suite.versions}
    (spoiled / "suite.json").write_text(json.dumps(description))
    status, results = conformance(
        tmp_path, "server-ws", "--cases", "1.1.[123]", "--cache", str(tmp_path / "cache")
    )
    shown = capfd.readouterr().out
    assert status == 1
    assert not results["passed"]
    side = results["sides"]["server-ws"]
    assert (side["cases"], side["good"]) == (3, 2)
    assert [failure["case"] for failure in side["failures"]] == ["1.1.2"]
    (line,) = (line for line in shown.splitlines() if "1.1.2: FAILED" in line)
    assert Path(line.split()[-1]).is_file()


def test_it_cannot_be_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], program: Callable[..., Path]
) -> None:
    options = ["--json", str(tmp_path / "x.json"), "--cache", str(tmp_path)]
    assert main([*options, "--python", str(program("exit 1"))]) == 1
    assert "does not run as a Python 2.7" in capfd.readouterr().err
    assert main(["nobody", *options]) == 1
    assert "there is no side 'nobody', only server-ws, server-wss, client" in capfd.readouterr().err


def test_a_case_that_does_not_exist(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--cases", "8", "--json", str(tmp_path / "x.json")]) == 1
    assert "no case of the suite fits '8'" in capfd.readouterr().err


def descendants(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *descendants(child)]
    return found


@contextmanager
def under_way(tmp_path: Path, side: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own, in the middle of it."""
    options = ["--json", str(tmp_path / "x.json"), "--reports", str(tmp_path / "reports")]
    with subprocess.Popen(
        [sys.executable, "-m", "conformance", side, "--cases", "9", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        log = tmp_path / "reports" / side / "wstest.log"
        while not log.exists() or "Running test case ID 9.1.3" not in log.read_text():
            assert process.poll() is None
        yield process
        process.kill()


@pytest.mark.parametrize("side", ["server-ws", "client"])
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_it_is_told_to_end(
    tmp_path: Path, side: str, number: signal.Signals, status: int, said: str
) -> None:
    with under_way(tmp_path, side) as process:
        started = descendants(process.pid)
        assert len(started) == 2  # the suite, and who is under test
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == status
        assert errors == f"conformance: {said}\n"
    assert not [pid for pid in started if os.path.exists(f"/proc/{pid}")]
