"""The suite as it is installed: in a virtual environment in a cache folder, made once.

The folder is complete when the file ``suite.json`` is there, which is written last; without it
everything is made anew. A lock keeps two runs from doing that at the same time.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from conformance import python27
from conformance.errors import InstallFailed
from conformance.processes import Command, program

VERSION = "25.10.1"
VIRTUALENV = "20.15.1"  # of those that still make environments for Python 2.7 and run on it
STEP_TIMEOUT = 600.0  # seconds that one step of the installation may be silent: it compiles
LOCK_POLL = 0.2
DESCRIPTION = "suite.json"

_START_VIRTUALENV = "from virtualenv.__main__ import run_with_catch; run_with_catch()"

# What the suite says about itself; in Python 2.7. Its own module must be the first import.
_DESCRIBE = """
import autobahntestsuite.wstest
import json, platform, sys
import autobahn, autobahntestsuite
from autobahntestsuite import fuzzing
from autobahntestsuite.caseset import CaseSet
cases = CaseSet(fuzzing.CaseSetname, fuzzing.CaseBasename, fuzzing.Cases,
                fuzzing.CaseCategories, fuzzing.CaseSubCategories)
print(json.dumps({
    "cases": list(cases.CasesById),
    "versions": {
        "autobahntestsuite": autobahntestsuite.version,
        "autobahn": autobahn.version,
        "python of the suite": platform.python_version(),
    },
}))
"""


@frozen(kw_only=True)
class Suite:
    """The suite, ready to run.

    Args:
        python: The interpreter that has it.
        cases: The names of all its cases, in no order.
        versions: Of what matters in it.
    """

    python: Path
    cases: tuple[str, ...]
    versions: dict[str, str]


def default_cache() -> Path:
    """Where the suite is installed unless told otherwise: in the user's folder for caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "foreman-server" / "conformance"


async def install(
    cache: Path, given: str | None = None, tell: Callable[[str], None] = lambda line: None
) -> Suite:
    """The suite in a cache folder, installed there if it is not.

    Args:
        cache: The folder; made if it is not there.
        given: The Python 2.7 to install it with; None for one that is installed already, or else
            any that can be found.
        tell: Called with a line when something takes long.

    Raises:
        NoPython27: There is none.
        InstallFailed: A step failed; the message has what it said.
    """
    folder = cache / f"autobahntestsuite-{VERSION}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InstallFailed(f"the suite's folder cannot be made: {error}") from error
    async with _locked(cache / f"autobahntestsuite-{VERSION}.lock", tell):
        suite = await _installed(folder, given)
        if suite is None:
            python = await asyncio.to_thread(python27.find, given)
            tell(f"installing the Autobahn test suite {VERSION} with {python}, in {folder}")
            suite = await _make(folder, python)
        return suite


async def _installed(folder: Path, given: str | None) -> Suite | None:
    """The suite that is there; None where there is none, an incomplete one, or one of another
    interpreter than the one given."""
    found = _read(folder)
    if found is None:
        return None
    if given is not None and found["made with"] != str(python27.find(given)):
        return None
    try:  # the interpreter may be gone that it was made with
        await _run("the suite", [_python(folder), "-c", "import autobahn"], folder / "check.log")
    except InstallFailed:
        return None
    return Suite(
        python=_python(folder), cases=tuple(found["cases"]), versions=dict(found["versions"])
    )


async def _make(folder: Path, python: Path) -> Suite:
    _empty(folder)
    log = folder / "install.log"
    boot = folder / "boot"
    pip = ("-m", "pip", "--disable-pip-version-check", "install")
    await _run("pip", [python, *pip, "--target", boot, f"virtualenv=={VIRTUALENV}"], log)
    # Not by way of PYTHONPATH, which `program` takes away.
    start = f"import sys; sys.path.insert(0, {str(boot)!r}); {_START_VIRTUALENV}"
    places: list[str | Path] = ["--app-data", folder / "app-data", folder / "environment"]
    await _run("virtualenv", [python, "-c", start, *places], log)
    await _run("pip", [_python(folder), *pip, f"autobahntestsuite=={VERSION}"], log)
    said = await _run("the suite", [_python(folder), "-c", _DESCRIBE], log)
    try:
        described = json.loads(said[-1])
    except (IndexError, ValueError):
        raise InstallFailed(f"the suite does not tell its cases: see {log}") from None
    _write(folder, {"made with": str(python), **described})
    return Suite(
        python=_python(folder),
        cases=tuple(described["cases"]),
        versions=dict(described["versions"]),
    )


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise InstallFailed(f"{folder} cannot be made anew: {error}") from error


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text())
    except (OSError, ValueError):
        return None
    return found


def _write(folder: Path, description: dict[str, object]) -> None:
    (folder / DESCRIPTION).write_text(json.dumps(description))


def _python(folder: Path) -> Path:
    return folder / "environment" / "bin" / "python"


async def _run(name: str, command: Command, log: Path) -> list[str]:
    """One step.

    Returns:
        The lines that it wrote.

    Raises:
        InstallFailed: It failed, or did not end.
    """
    lines: list[str] = []
    try:
        async with program(name, command, log, append=True) as step:
            try:
                status = await step.follow(lines.append, STEP_TIMEOUT)
            except TimeoutError:
                raise InstallFailed(f"{name} hung{step.tail()}") from None
            if status != 0:
                raise InstallFailed(f"{name} failed{step.tail()}")
    except OSError as error:
        raise InstallFailed(f"{name} cannot be run: {error}") from error
    return lines


@asynccontextmanager
async def _locked(path: Path, tell: Callable[[str], None]) -> AsyncIterator[None]:
    """Hold a lock that ends with this process at the latest."""
    with path.open("w") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    tell("waiting for another run that installs the suite")
                told = True
            await asyncio.sleep(LOCK_POLL)
        yield
