"""For all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path

import pytest

GATE = Path(__file__)  # files that are there anyway, to hold locks on
TURN = GATE.parent


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test, even where the tests run in the background.

    A shell has SIGINT ignored there, and whoever is started inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those marked ``alone`` come last, so that of several processes the fewest wait for them."""
    items.sort(key=is_alone)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """In several processes (``-n``), a test marked ``alone`` runs while no other does.

    It waits at the gate, which lets nobody else pass meanwhile, so that its turn comes. This is
    around the test's time-out, which does not count the wait.
    """
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with ExitStack() as turn:
        with locked(GATE, LOCK_EX):
            turn.enter_context(locked(TURN, LOCK_EX if is_alone(item) else LOCK_SH))
        return (yield)


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock for the length of the block; it is between processes, and of this checkout."""
    file = os.open(path, os.O_RDONLY)
    try:
        flock(file, how)
        yield
    finally:
        flock(file, LOCK_UN)  # closing alone would leave it to whoever was forked meanwhile
        os.close(file)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With ``FORBID_SKIPS=1``, as in CI, a test that is skipped for whatever reason has failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("FORBID_SKIPS") == "1":
        report.outcome = "failed"
        report.longrepr = f"FORBID_SKIPS forbids to skip: {report.longrepr}"
    return report
