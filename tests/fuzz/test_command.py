"""The command line, without atheris but for one test."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fuzz import __main__ as command
from fuzz import corpus
from fuzz.__main__ import main
from fuzz.errors import Broken
from fuzz.targets import TARGETS


def test_help_names_every_target(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(target in shown for target in TARGETS)


def test_without_atheris_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["raw"]) == 1
    assert "pip install 'foreman-server[fuzz]'" in capsys.readouterr().err


def test_replay_tries_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"\0\0abc")
    assert main(["raw", "--replay", str(path)]) == 0

    def broken(data: bytes) -> None:
        raise Broken(repr(data))

    monkeypatch.setattr(command, "TARGETS", {**TARGETS, "raw": broken})
    with pytest.raises(Broken, match="abc"):
        main(["raw", "--replay", str(path)])


def test_add_keeps_an_input_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corpus, "DIRECTORY", tmp_path)
    path = tmp_path / "crash"
    path.write_bytes(b"\0\0\xff")
    with pytest.raises(SystemExit):
        main(["raw", "--add", str(path)])
    assert "--add wants --why" in capsys.readouterr().err
    assert main(["raw", "--add", str(path), "--why", "a test"]) == 0
    assert (tmp_path / "raw.txt").read_text() == "# a test\n\\x00\\x00\\xff\n"


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is an extra of its own")
def test_a_fuzzer_runs(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "fuzz", "envelope", "--seconds", "1", "--crashes", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=corpus.DIRECTORY.parent.parent,
    )
    assert ran.returncode == 0, ran.stderr
    assert "stat::number_of_executed_units" in ran.stderr
    assert list(tmp_path.iterdir()) == []
