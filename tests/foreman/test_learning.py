"""When what was measured of a worker takes the place of what was assumed."""

from __future__ import annotations

import threading
import time

import pytest

from foreman import BestFit, Foreman, Node, Worker
from foreman.accounts import FOLDED_AT_ONCE
from foreman.ledger import BELIEVED_AFTER
from tests.foreman.conftest import groups_on, until


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
        node._accounts.fold(node.clock() + 1.0)
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
        assert foreman._dispatcher._seating.ledger._experience.of(group.kind) is not None


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


@pytest.mark.alone  # none of the workers but one may hold the node long
def test_many_are_added_up_a_few_in_each_turn_those_first_who_held_longest() -> None:
    """All at once would keep those waiting whom the node promised to serve."""
    reports: list[list[Worker]] = []
    with Foreman(max_nodes=1) as foreman:
        workers = [Quick() for _ in range(4 * FOLDED_AT_ONCE)]
        (node,) = {foreman.add(worker) for worker in workers}
        learn = node._accounts._report

        def note(here: Node, costs: list[tuple[Worker, float]]) -> None:
            reports.append([worker for worker, _ in costs])
            learn(here, costs)

        node._accounts._report = note
        slow = workers[-1]
        for worker in workers:
            have_run(worker, 1)
        slow.call_soon(time.sleep, 0.05)
        have_run(slow, 1)
        until(lambda: slow.holds.worst > 0.04 and all(w.holds.total_runs for w in workers))
    told = list(reports)
    assert max(len(report) for report in told) == FOLDED_AT_ONCE
    assert next(report for report in told if slow in report)[0] is slow
