"""Finding an interpreter among what may be on a PATH."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance import python27
from conformance.errors import NoPython27

GOOD = "printf 2.7"  # what it is asked for, and all that is asked of it here
SHIM = 'echo "pyenv: $0: command not found" >&2; exit 127'


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing but what the test puts there."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)


def test_on_the_path(program: Callable[..., Path]) -> None:
    good = program(GOOD)
    assert python27.find() == good


def test_under_another_name(program: Callable[..., Path]) -> None:
    program(SHIM)
    program("printf 3.11", "python")
    good = program(GOOD, "python2")
    assert python27.find() == good


def test_a_shim_that_leads_nowhere(program: Callable[..., Path], tmp_path: Path) -> None:
    program(SHIM)
    real = program(GOOD, "real")
    version = tmp_path / ".pyenv" / "versions" / "2.7.18" / "bin"
    version.mkdir(parents=True)
    (version / "python2.7").symlink_to(real)
    assert python27.find() == version / "python2.7"


def test_pyenv_elsewhere(
    program: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "else"))
    version = tmp_path / "else" / "versions" / "2.7.9" / "bin"
    version.mkdir(parents=True)
    (version / "python2.7").symlink_to(program(GOOD, "real"))
    assert python27.find() == version / "python2.7"


def test_there_is_none(program: Callable[..., Path]) -> None:
    with pytest.raises(NoPython27, match=r"no Python 2.7 was found; .*--python PATH"):
        python27.find()
    shim = program(SHIM)
    with pytest.raises(NoPython27, match=f"not even {shim}"):
        python27.find()


def test_the_one_given(program: Callable[..., Path]) -> None:
    good = program(GOOD, "mine")
    assert python27.find(str(good)) == good
    assert python27.find("mine") == good


@pytest.mark.parametrize("text", [SHIM, "printf 3.11", "kill -9 $$"])
def test_the_one_given_is_none(program: Callable[..., Path], text: str) -> None:
    program(GOOD)  # it must not be taken instead
    with pytest.raises(NoPython27, match=r"does not run as a Python 2.7"):
        python27.find(str(program(text, "mine")))
    with pytest.raises(NoPython27, match=r"does not run as a Python 2.7"):
        python27.find(sys.executable)
    with pytest.raises(NoPython27, match="no program"):
        python27.find("/nowhere/python2.7")
