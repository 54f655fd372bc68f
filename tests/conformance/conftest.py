"""The suite, installed once; where it cannot be, what needs it is skipped, or fails in CI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance import python27
from conformance.errors import NoPython27
from conformance.suite import Suite, default_cache, install

# Whichever test is the first to need the suite waits for it: two downloads, and builds of packages.
INSTALLING = 600  # seconds


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and "suite" in item.fixturenames:
            item.add_marker(pytest.mark.timeout(INSTALLING))


@pytest.fixture(scope="session")
def suite() -> Suite:
    """The Autobahn test suite, in the cache where the command looks for it too."""
    try:
        if not any(default_cache().glob("*/suite.json")):
            python27.find()
        return asyncio.run(install(default_cache()))
    except NoPython27 as missing:
        pytest.skip(str(missing))


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Path]:
    """Writes a shell script that can be run: ``program(text, name)``."""

    def write(text: str, name: str = "python2.7") -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write
