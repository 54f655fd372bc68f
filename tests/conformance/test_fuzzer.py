"""The suite's programs, where they fall silent or fail."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.cases import Selection
from conformance.errors import RunFailed
from conformance.fuzzer import fuzz_server, fuzzing_server
from conformance.sides import run_side
from conformance.suite import Suite


def test_it_falls_silent(tmp_path: Path, program: Callable[..., Path]) -> None:
    silent = program(f"echo $$ >{tmp_path}/pid; echo begun; exec sleep 1000")
    suite = Suite(python=silent, cases=("1.1.1",), versions={})
    url = "ws://127.0.0.1:1"
    with pytest.raises(RunFailed, match=r"(?s)nothing happened for 0.3 s.begun.*wstest.log"):
        asyncio.run(fuzz_server(suite, url, "a", ["1.1.1"], tmp_path, print, 0.3))
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_it_fails(tmp_path: Path, program: Callable[..., Path]) -> None:
    suite = Suite(python=program("echo no; exit 3"), cases=("1.1.1",), versions={})
    with pytest.raises(RunFailed, match=r"(?s)ended with status 3.no"):
        asyncio.run(fuzz_server(suite, "ws://127.0.0.1:1", "a", ["1.1.1"], tmp_path, print, 10))


@pytest.mark.parametrize("text", ["echo no; exit 3", "exit 0"])
def test_its_server_does_not_come_up(
    tmp_path: Path, program: Callable[..., Path], text: str
) -> None:
    async def main() -> None:
        suite = Suite(python=program(text), cases=("1.1.1",), versions={})
        async with fuzzing_server(suite, ["1.1.1"], tmp_path):
            pytest.fail("it does not listen")

    with pytest.raises(RunFailed, match="the fuzzing server does not listen"):
        asyncio.run(main())


def test_its_server_goes_away(tmp_path: Path, program: Callable[..., Path], suite: Suite) -> None:
    """Nobody waits for the cases that are left."""

    wrapper = program(f'echo $$ >{tmp_path}/pid; exec {suite.python} "$@"')
    wrapped = Suite(python=wrapper, cases=suite.cases, versions={})

    def end(case: str) -> None:
        if case == "1.1.3":
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    selection = Selection(name="some", patterns=("1",))
    with pytest.raises(RunFailed, match=r"(?s)the client ended or failed.*The suite said:"):
        asyncio.run(run_side("client", wrapped, selection, tmp_path / "reports", end, 30))
