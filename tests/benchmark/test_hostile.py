"""The hostile table: real attacks on a real server, and what the command makes of the figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import record
from benchmark.__main__ import main
from benchmark.commands import hostile
from benchmark.errors import BenchmarkError
from benchmark.hostile import vanishing
from benchmark.hostile.ground import Finding, Ground
from benchmark.hostile.rows import ROWS

pytestmark = pytest.mark.alone


def test_rows_are_measured(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    assert main(["hostile", "--quick", "--only", "bomb, storm", "--json", str(path)]) == 0
    said = capfd.readouterr().out
    assert "not refused with 1009" in said
    assert "held" in said
    results = json.loads(path.read_text())
    assert list(results["rows"]) == ["bomb", "storm"]
    for row in results["rows"].values():
        for figure in row:
            assert figure["held"] is (figure["value"] <= figure["bound"])
    counted = {figure["what"]: figure["value"] for figure in results["rows"]["bomb"]}
    assert counted["not refused with 1009"] == 0
    assert counted["others waited at most"] > 0
    counted = {figure["what"]: figure["value"] for figure in results["rows"]["storm"]}
    assert counted["refused"] == 0
    assert counted["descriptors, last / first"] == 1


def test_a_stop_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert main(["hostile", "--quick", "--only", "stop", "--json", str(path)]) == 0
    row = json.loads(path.read_text())["rows"]["stop"]
    assert {figure["what"]: figure["value"] for figure in row[:3]} == {
        "not told 1001": 0,
        "queued messages lost": 0,
        "exit status": 0,
    }


def test_moves_are_made_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert main(["hostile", "--quick", "--only", "moves", "--json", str(path)]) == 0
    nothing, pause = json.loads(path.read_text())["rows"]["moves"]
    assert nothing["held"]
    assert pause["value"] > 0


def test_peers_that_vanish_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert main(["hostile", "--quick", "--only", "half-open", "--json", str(path)]) == 0
    row = json.loads(path.read_text())["rows"]["half-open"]
    assert [each["value"] >= vanishing.INTERVAL for each in row] == [True] * 3


def test_the_documents_show_every_row() -> None:
    results = {
        "rows": {
            "bomb": [Finding(what="memory", value=1.5, bound=4, unit="MiB").described()],
            "fuzz": [
                Finding(what="fine", value=0, bound=0, unit="").described(),
                Finding(what="too slow", value=3, bound=2, unit="s").described(),
            ],
        },
        **record.describe(["hostile", "--save"]),
    }
    shown = hostile.KEPT.blocks["hostile"](results)
    assert "| bomb | memory | 1.5 MiB | 4 MiB | held |" in shown
    assert "| fuzz | fine | 0 | 0 | held |\n|  | too slow | 3 s | 2 s | NOT held |" in shown
    assert "`python -m benchmark hostile --save`" in shown


@pytest.mark.parametrize("check", [False, True])
def test_what_is_beyond_its_bound(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    check: bool,
) -> None:
    async def row(ground: Ground) -> list[Finding]:
        return [
            Finding(what="fine", value=1, bound=1, unit="s"),
            Finding(what="too slow", value=3, bound=2, unit="s"),
        ]

    monkeypatch.setitem(ROWS, "bomb", row)
    path = tmp_path / "results.json"
    options = ("--only", "bomb", "--json", str(path), *(["--check"] if check else []))
    assert main(["hostile", *options]) == int(check)
    said = capfd.readouterr()
    assert "NOT held" in said.out
    assert ("bomb: too slow" in said.err) is check
    assert [each["held"] for each in json.loads(path.read_text())["rows"]["bomb"]] == [True, False]


def test_a_row_that_fails_does_not_lose_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def failing(ground: Ground) -> list[Finding]:
        raise BenchmarkError("the server has gone")

    async def fine(ground: Ground) -> list[Finding]:
        return [Finding(what="fine", value=1, bound=1, unit="s")]

    monkeypatch.setitem(ROWS, "bomb", failing)
    monkeypatch.setitem(ROWS, "storm", fine)
    path = tmp_path / "results.json"
    assert main(["hostile", "--only", "bomb,storm", "--json", str(path)]) == 1
    assert "bomb: the server has gone" in capfd.readouterr().err
    assert list(json.loads(path.read_text())["rows"]) == ["storm"]


def test_a_row_that_there_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["hostile", "--only", "bomb,tsunami"]) == 1
    assert "there is no row 'tsunami', only bomb, " in capfd.readouterr().err


def test_help_tells_the_options() -> None:
    command = [sys.executable, "-m", "benchmark", "hostile", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    for option in ("--only", "--quick", "--check", "--json", *ROWS):
        assert option in shown
