"""Scan workers: often enough, wherever they are, whatever one of them does."""

from __future__ import annotations

import asyncio
import threading

import pytest

from foreman import Foreman, ScanWorker
from tests.foreman.conftest import PATIENCE, until


class Scanner(ScanWorker):
    def __init__(self, latency: float) -> None:
        super().__init__()
        self.required_latency = latency
        self.scans = 0
        self.places: list[str] = []
        self.enough = threading.Semaphore(0)

    def scan(self) -> None:
        assert self.node is not None
        self.scans += 1
        self.places.append(threading.current_thread().name)
        self.enough.release()

    def wait_for(self, scans: int) -> None:
        for _ in range(scans):
            assert self.enough.acquire(timeout=PATIENCE)


def test_scans_come_as_often_as_declared(foreman: Foreman) -> None:
    """On average at least; a busy machine may be late with one."""
    worker = Scanner(0.02)
    foreman.add(worker)
    worker.wait_for(20)
    waits = worker.statistics().waits
    assert waits.count >= 18
    assert waits.mean <= 0.02
    assert waits.misses <= waits.count


def test_stricter_neighbours_make_passes_more_frequent(foreman: Foreman) -> None:
    loose, strict = Scanner(60.0), Scanner(0.01)
    node = foreman.add(loose)
    foreman.add(strict)
    foreman.move(strict, node).result(PATIENCE)
    strict.wait_for(5)
    loose.wait_for(3)


def test_one_that_becomes_stricter_is_scanned_sooner(foreman: Foreman) -> None:
    worker = Scanner(3600.0)
    node = foreman.add(worker)
    worker.wait_for(1)
    worker.required_latency = 0.01
    worker.wait_for(3)
    assert worker.node is node


class Hurried(Scanner):
    """Declares anew in every scan."""

    def scan(self) -> None:
        super().scan()
        self.required_latency = 0.05


def test_declaring_in_every_scan_makes_no_busy_loop(foreman: Foreman) -> None:
    worker = Hurried(0.05)
    foreman.add(worker)
    worker.wait_for(5)
    assert worker.statistics().waits.mean > 0.01


class Broken(Scanner):
    def __init__(self, error: BaseException) -> None:
        super().__init__(0.01)
        self.error = error

    def scan(self) -> None:
        super().scan()
        raise self.error


@pytest.mark.parametrize(
    "error", [ValueError(), asyncio.CancelledError(), SystemExit()], ids=lambda e: type(e).__name__
)
def test_one_that_raises_does_not_end_the_passes(foreman: Foreman, error: BaseException) -> None:
    broken, fine = Broken(error), Scanner(0.01)
    assert foreman.add(broken) is foreman.add(fine)
    broken.wait_for(3)
    fine.wait_for(3)
    foreman.remove(broken).result(PATIENCE)
    assert broken.statistics().errors == broken.scans


class Brief(Scanner):
    def scan(self) -> None:
        super().scan()
        assert self._foreman is not None
        self._foreman.remove(self)


def test_one_removed_within_its_own_scan(foreman: Foreman) -> None:
    brief, neighbour = Brief(0.01), Scanner(0.01)
    foreman.add(brief)
    foreman.add(neighbour)
    brief.wait_for(1)
    until(lambda: brief.node is None)
    scans = brief.scans
    neighbour.wait_for(5)
    assert brief.scans == scans


def test_moved_it_is_scanned_there_and_no_longer_here(foreman: Foreman) -> None:
    worker, stays = Scanner(0.01), Scanner(0.01)
    old = foreman.add(worker)
    foreman.add(stays)
    new = foreman.spawn()
    worker.wait_for(2)
    assert foreman.move(worker, new).result(PATIENCE)
    before = len(worker.places)
    worker.wait_for(before + 3)
    stays.wait_for(3)
    assert set(worker.places[before + 1 :]) == {new.name}
    assert foreman.move(worker, old).result(PATIENCE)
    before = len(worker.places)
    worker.wait_for(3)
    until(lambda: len(worker.places) > before + 3)
    assert set(worker.places[before + 1 :]) == {old.name}


def test_without_scan_workers_a_node_has_no_timer(foreman: Foreman) -> None:
    worker = Scanner(0.01)
    node = foreman.add(worker)
    worker.wait_for(1)
    foreman.remove(worker).result(PATIENCE)
    until(lambda: node.scans._timer is None)
    node.post(node.scans.rearm)
    done = threading.Event()
    node.post(done.set)
    assert done.wait(PATIENCE)
    assert node.scans._timer is None


def test_scan_must_be_written() -> None:
    class Forgetful(ScanWorker):
        pass

    with pytest.raises(TypeError, match=r"abstract method.* .?scan"):
        Forgetful()  # type: ignore[abstract]


def test_a_scan_that_always_raises_is_logged_now_and_then(
    foreman: Foreman, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ScanWorker):
        required_latency = 0.01
        failures = 0
        often = threading.Event()

        def scan(self) -> None:
            raise RuntimeError("as the test wants")

        def on_error(self, error: BaseException) -> None:
            self.failures += 1
            if self.failures == 20:
                self.often.set()

    worker = Broken()
    foreman.add(worker)
    assert worker.often.wait(PATIENCE)
    assert worker.statistics().errors >= 20
    logged = [record for record in caplog.records if record.exc_info]
    assert 1 <= len(logged) < 20


def test_what_is_raised_before_the_first_scan_silences_none(
    foreman: Foreman, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are logged: what will not be raised again, and the first scan that raises."""

    class Unready(Scanner):
        def on_start(self) -> None:
            raise RuntimeError("not ready")

        def scan(self) -> None:
            super().scan()
            raise RuntimeError("not scanned")

    worker = Unready(0.01)
    foreman.add(worker)
    worker.wait_for(2)
    logged = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert logged[:2] == ["not ready", "not scanned"]
