"""The real collector, mostly in processes of its own: it belongs to the whole process."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from textwrap import dedent
from typing import Any

import pytest

from foreman.collector import NEVER, Collector, _is_tunable
from tests.foreman.conftest import PATIENCE

PRELUDE = """
import gc, json, math, sys, threading, weakref
from time import perf_counter
from foreman import collector as module
from foreman.collector import NEVER, collector


class Ring:
    def __init__(self, size=4):
        self.ring = [[self] for _ in range(size)]


def pauses(run):
    # Of each collection meanwhile, how long it took.
    began, took = 0.0, []

    def note(phase, info):
        nonlocal began
        if phase == "start":
            began = perf_counter()
        else:
            took.append(perf_counter() - began)

    gc.callbacks.append(note)
    run()
    gc.callbacks.remove(note)
    return took


STRICT, LOOSE, OWNER = 0.01, 60.0, object()
FEW = 1000
"""

# CPython 3.12 sets a few hundred immortal objects aside by itself.
FEW = 1000


def run(script: str, **environment: str) -> Any:
    """What a script prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + dedent(script)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


needs_tunable = pytest.mark.skipif(not _is_tunable(), reason="its collector is left alone")


@needs_tunable
def test_everything_is_given_back_with_the_last_wish() -> None:
    found, meanwhile, still, after, frozen = run(
        """
        alive = [Ring() for _ in range(20_000)]
        other = object()
        found = gc.get_threshold()
        collector.wish(OWNER, STRICT)
        collector.wish(other, LOOSE)
        meanwhile = gc.get_threshold()
        frozen = [gc.get_freeze_count()]
        collector.wish(other, None)
        collector.wish(other, None)
        still = gc.get_threshold()
        collector.wish(OWNER, None)
        frozen.append(gc.get_freeze_count())
        collector.look()
        print(json.dumps([found, meanwhile, still, gc.get_threshold(), frozen]))
        """
    )
    assert meanwhile == still == [found[0], meanwhile[1], NEVER]
    assert 1 <= meanwhile[1] < found[1], "young collections are to fit, too"
    assert after == found
    assert frozen[0] > 100_000
    assert frozen[1] < FEW


@needs_tunable
def test_a_loose_wish_leaves_everything_to_be_examined() -> None:
    found, meanwhile, frozen, dead = run(
        """
        alive = [Ring() for _ in range(20_000)]
        found = gc.get_threshold()
        collector.wish(OWNER, LOOSE)
        meanwhile = gc.get_threshold()
        one = weakref.ref(alive.pop())
        collector.look()
        print(json.dumps([found, meanwhile, gc.get_freeze_count(), one() is None]))
        """
    )
    assert meanwhile == [found[0], found[1], NEVER]
    assert frozen < FEW
    assert dead is True, "full collections are made, but for the watcher to begin"


@needs_tunable
def test_no_collection_examines_all_that_is_alive() -> None:
    whole, longest, frozen, count = run(
        """
        alive = [Ring() for _ in range(60_000)]
        (whole,) = pauses(gc.collect)
        collector.wish(OWNER, STRICT)

        def grow_and_make_garbage():
            for _ in range(20_000):
                Ring()
                alive.append(Ring())
                collector.look()

        took = pauses(grow_and_make_garbage)
        print(json.dumps([whole, sorted(took)[len(took) // 2], gc.get_freeze_count(), len(took)]))
        """
    )
    assert frozen > 60_000 * 5
    assert count > 10
    assert longest < whole / 5


@needs_tunable
def test_as_many_that_are_freed_do_not_let_the_young_pile_up() -> None:
    """CPython begins a young collection when more was made than freed; here it never is."""
    whole, longest, before = run(
        """
        from collections import deque

        alive = deque([[number] for number in range(400_000)], maxlen=400_000)
        (whole,) = pauses(gc.collect)

        def exchange():
            for number in range(400_000):
                alive.append([number])
                if number % 1000 == 0:
                    collector.look()

        collector.wish(OWNER, STRICT)
        took = sorted(pauses(exchange))
        before = len(gc.get_objects(generation=0))
        print(json.dumps([whole, took[-len(took) // 100], before]))
        """
    )
    assert before < 2000, "all but the last are known"
    assert longest < whole / 5


@needs_tunable
def test_garbage_is_found_while_it_is_not_frozen_and_after_the_last_wish_in_any_case() -> None:
    fresh, frozen, thawed = run(
        """
        alive = [Ring() for _ in range(60_000)]
        collector.wish(OWNER, STRICT)
        fresh, old = Ring(), weakref.ref(alive[0])
        fresh_one = weakref.ref(fresh)
        del fresh, alive[0]
        collector.look()
        found = [fresh_one() is None, old() is None]
        collector.wish(OWNER, None)
        gc.collect()
        print(json.dumps([*found, old() is None]))
        """
    )
    assert fresh is True
    assert frozen is False, "that is what it costs"
    assert thawed is True


@needs_tunable
def test_all_is_thawed_when_a_looser_latency_is_the_strictest() -> None:
    before, after, dead = run(
        """
        module.PERIOD = 0.0
        alive = [Ring() for _ in range(60_000)]
        collector.wish(OWNER, STRICT)
        before = gc.get_freeze_count()
        one = weakref.ref(alive.pop())
        collector.wish(OWNER, LOOSE)
        collector.look()
        print(json.dumps([before, gc.get_freeze_count(), one() is None]))
        """
    )
    assert before > 60_000 * 5
    assert after < FEW
    assert dead is True


@needs_tunable
def test_where_nothing_happens_nothing_is_examined_again() -> None:
    found = run(
        """
        module.PERIOD, module.SHARE_OF_TIME = 0.0, math.inf
        alive = [Ring() for _ in range(60_000)]
        collector.wish(OWNER, LOOSE)
        collector.look()
        whole = [len(pauses(collector.look)) for _ in range(20)]
        more = [Ring() for _ in range(6000)]
        print(json.dumps([gc.get_freeze_count(), whole, len(pauses(collector.look))]))
        """
    )
    frozen, whole, after = found
    assert frozen < FEW
    assert whole == [1] * 20, "the young only"
    assert after == 2


@needs_tunable
def test_what_nearly_takes_too_long_is_not_examined_for_next_to_nothing() -> None:
    whole, after, frozen = run(
        """
        alive = [Ring() for _ in range(60_000)]
        collector.wish(OWNER, LOOSE)
        module.PERIOD, module.SHARE_OF_TIME = 0.0, math.inf
        collector.look()
        collector._budget = 2 * collector._took
        module.PERIOD = math.inf
        whole = [len(pauses(collector.look)) for _ in range(20)]
        more = [Ring() for _ in range(60_000)]
        print(json.dumps([whole, len(pauses(collector.look)), gc.get_freeze_count()]))
        """
    )
    assert whole == [1] * 20, "the young only"
    assert after == 2
    assert frozen > 60_000 * 5, "with as much again it takes too long"


@needs_tunable
def test_all_is_thawed_when_little_is_left_alive() -> None:
    before, after = run(
        """
        module.PERIOD = 0.0
        alive = [[number] for number in range(600_000)]
        collector.wish(OWNER, 2.0)
        before = gc.get_freeze_count()
        alive.clear()
        collector.look()
        print(json.dumps([before, gc.get_freeze_count()]))
        """
    )
    assert before >= 600_000
    assert after < FEW


@needs_tunable
def test_a_stricter_wish_freezes_what_it_could_not_afford_to_examine() -> None:
    before, after = run(
        """
        alive = [Ring() for _ in range(60_000)]
        collector.wish(OWNER, LOOSE)
        before = gc.get_freeze_count()
        took = pauses(lambda: collector.wish(object(), STRICT))
        assert not took
        print(json.dumps([before, gc.get_freeze_count()]))
        """
    )
    assert before < FEW
    assert after > 60_000 * 5


@needs_tunable
def test_garbage_that_was_frozen_does_not_grow_for_ever() -> None:
    most, limit, frozen = run(
        """
        module.ALLOWANCE = 100_000
        collector.wish(OWNER, STRICT)
        start, most = sys.getallocatedblocks(), 0
        alive = []
        for round in range(60):
            # All of them die soon after they were frozen: nothing but garbage is left behind.
            alive = [Ring() for _ in range(3000)]
            collector.look()
            most = max(most, sys.getallocatedblocks())
        print(json.dumps([most, 2 * start + module.ALLOWANCE, gc.get_freeze_count()]))
        """
    )
    everything = 60 * 3000 * 6
    assert most < everything / 2
    # What is alive at the end of each round comes on top, once frozen and once not.
    assert most < 2 * limit
    assert frozen > FEW


@needs_tunable
def test_thresholds_that_somebody_else_has_set_since_are_left() -> None:
    found, owner, collector = gc.get_threshold(), object(), Collector()
    try:
        collector.wish(owner, 1e6)
        gc.set_threshold(1234, 5, 6)
        collector.wish(owner, None)
        assert gc.get_threshold() == (1234, 5, 6)
    finally:
        gc.set_threshold(*found)


def test_one_without_an_interpreter_lock_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found, owner, collector = gc.get_threshold(), object(), Collector()
    monkeypatch.setattr("foreman.collector.has_lock", lambda: False)
    collector.wish(owner, 0.001)
    collector.look()
    assert gc.get_threshold() == found
    assert gc.get_freeze_count() < FEW
    collector.wish(owner, None)


@pytest.mark.parametrize(
    "off", ["gc.disable()", "gc.set_threshold(0)", "sys.implementation.name = 'pypy'"]
)
def test_a_collector_that_is_turned_off_or_another_one_is_left_alone(off: str) -> None:
    before, after, frozen = run(
        f"""
        {off}
        alive = [Ring() for _ in range(20_000)]
        before = gc.get_threshold()
        collector.wish(OWNER, STRICT)
        assert not pauses(collector.look)[4:]
        print(json.dumps([before, gc.get_threshold(), gc.get_freeze_count()]))
        """
    )
    assert before == after
    assert frozen < FEW


def test_without_blocks_to_count_it_is_left_alone() -> None:
    before, after = run(
        """
        before = gc.get_threshold()
        collector.wish(OWNER, STRICT)
        print(json.dumps([before, gc.get_threshold()]))
        """,
        PYTHONMALLOC="malloc",
    )
    assert before == after


@needs_tunable
def test_a_finalizer_may_call_in() -> None:
    after = run(
        """
        class Last(Ring):
            def __del__(self):
                collector.look()
                collector.wish(OWNER, None)

        found = gc.get_threshold()
        alive = [Ring() for _ in range(60_000)]
        collector.wish(OWNER, STRICT)
        last = Last()
        del last
        assert gc.get_threshold() != found
        collector.look()
        assert gc.get_threshold() == found
        assert gc.get_freeze_count() < FEW
        print(json.dumps("called"))
        """
    )
    assert after == "called"


@needs_tunable
def test_a_finalizer_may_call_in_from_within_a_call() -> None:
    called = run(
        """
        class Last(Ring):
            def __del__(self):
                global called
                called += 1
                collector.wish(self, LOOSE)
                collector.wish(self, None)
                collector.look()

        called = 0
        for number in range(20):
            gc.disable()
            last = Last()
            gc.set_threshold(2, 1, 10)
            for _ in range(1 + number % 5):
                gc.collect(0)
            del last
            gc.enable()
            # It is collected as soon as a few things were allocated, and that is in there.
            collector.wish(OWNER, STRICT)
            collector.wish(OWNER, None)
        print(json.dumps(called))
        """
    )
    assert called > 10


@needs_tunable
def test_threads_may_call_in_at_once() -> None:
    found, after, frozen = run(
        """
        found = gc.get_threshold()

        def call(owner):
            for number in range(300):
                collector.wish(owner, STRICT / (1 + number % 7))
                keep = [Ring() for _ in range(300)]
                collector.look()
            collector.wish(owner, None)

        threads = [threading.Thread(target=call, args=(object(),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(json.dumps([found, gc.get_threshold(), gc.get_freeze_count()]))
        """
    )
    assert after == found
    assert frozen < FEW


@needs_tunable
def test_what_has_to_be_examined_whatever_it_takes_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found, owner, collector = gc.get_threshold(), object(), Collector()
    caplog.set_level("INFO")
    monkeypatch.setattr("foreman.collector.PERIOD", 0.0)
    try:
        collector.wish(owner, 1e-6)
        collector.look()
        collector.look()
        assert gc.get_freeze_count() > FEW
        assert not caplog.text
        monkeypatch.setattr("foreman.collector.ALLOWANCE", -NEVER)
        collector.look()
        assert "blocks are to be examined" in caplog.text
        assert gc.get_freeze_count() > FEW, "and then they are frozen again"
        collector.wish(owner, 1e6)
        collector.look()
        assert gc.get_freeze_count() < FEW
        collector.look()
        assert gc.get_count()[2], "not again so soon"
        collector.wish(owner, 1e-6)
        assert gc.get_freeze_count() > FEW
    finally:
        collector.wish(owner, None)
    assert gc.get_threshold() == found
    assert gc.get_freeze_count() < FEW


def test_giving_up_what_was_never_wished_changes_nothing() -> None:
    before = gc.get_threshold()
    collector = Collector()
    collector.wish(object(), None)
    collector.look()
    assert gc.get_threshold() == before
