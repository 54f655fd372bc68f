"""When what was measured of a worker takes the place of what was assumed."""

from __future__ import annotations

import threading

from foreman import BestFit, Foreman, Node, Worker
from foreman.ledger import BELIEVED_AFTER
from tests.foreman.conftest import groups_on


class Quick(Worker):
    required_latency = 1.0


def have_run(worker: Worker, times: int) -> None:
    """Run on its node so often, and have the node add up what that cost."""
    done = threading.Event()
    for _ in range(times):
        done.clear()
        worker.call_soon(done.set)
        assert done.wait(30)


def report(worker: Worker, node: Node) -> None:
    folded = threading.Event()

    def fold() -> None:
        node._fold(node.clock() + 1.0)
        folded.set()

    node.post(fold)
    assert folded.wait(30)


def test_a_short_hold_is_believed_after_a_few_runs_only() -> None:
    with Foreman() as foreman:
        worker = Quick()
        node = foreman.add(worker)
        have_run(worker, 2)
        report(worker, node)
        (group,) = groups_on(foreman, node)
        # The room that was reserved is given back, the assumption stays.
        assert not group.measured
        assert group.load < BestFit().assumed_load
        assert group.hold == BestFit().assumed_hold * Quick.required_latency

        have_run(worker, BELIEVED_AFTER)
        report(worker, node)
        (group,) = groups_on(foreman, node)
        assert group.measured
        assert 0 < group.hold < BestFit().assumed_hold * Quick.required_latency
        assert foreman._dispatcher._ledger._experience.of(group.kind) is not None


def test_a_long_hold_is_believed_at_once() -> None:
    with Foreman() as foreman:
        worker = Quick()
        node = foreman.add(worker)
        have_run(worker, 1)
        ran = threading.Event()

        def pretend() -> None:
            worker.holds.longest = 0.9
            ran.set()

        node.post(pretend)
        assert ran.wait(30)
        report(worker, node)
        (group,) = groups_on(foreman, node)
        assert group.hold == 0.9
