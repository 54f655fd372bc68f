"""The rule of who may share a node: by example, and against the same rule worker by worker."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from foreman import Demand, Group
from foreman.feasibility import Conditions, Obstacle, find_obstacle, has_obstacle
from tests.foreman.views import demand, demands, find_victims, node, roster

PLAIN = Conditions(full=0.8, lock_wait=0.0)


def obstacle(demands: Sequence[Demand], conditions: Conditions = PLAIN) -> Obstacle | None:
    return find_obstacle(roster(demands).groups(), conditions)


def test_nothing_stands_against_an_empty_node() -> None:
    assert obstacle([]) is None


def test_a_worker_alone_may_do_what_it_likes() -> None:
    greedy = demand(latency=0.001, hold=1.0, load=1.0)
    assert obstacle([greedy], evolve(PLAIN, lock_wait=0.005)) is None


def test_the_longest_hold_of_another_counts_and_the_own_does_not() -> None:
    strict, slow = demand(latency=0.01), demand(latency=1.0, hold=0.02)
    found = obstacle([strict, slow])
    assert found is not None
    assert (found.victim.required_latency, found.hold) == (0.01, 0.02)
    patient = demand(latency=0.01, hold=0.02)
    assert obstacle([patient, demand(latency=1.0)]) is None
    assert obstacle([patient, patient]) is not None, "each waits for the other"


def test_the_second_longest_hold_counts_for_the_one_with_the_longest() -> None:
    longest, second = demand(latency=0.1, hold=0.5), demand(latency=1.0, hold=0.2)
    found = obstacle([second, longest])
    assert found is not None
    assert (found.victim.required_latency, found.hold) == (0.1, 0.2)


def test_the_queue_is_that_of_one_server() -> None:
    """Ten workers at 5 % and 10 ms each: what arrives finds some of them before it."""
    many = [demand(latency=10.0, hold=0.01, load=0.05)] * 10
    wait = 0.01 + 10 * 0.05 * 0.01 / 0.5
    assert obstacle([*many, demand(latency=wait * 1.01)]) is None
    assert obstacle([*many, demand(latency=wait * 0.99)]) is not None


def test_the_queue_is_never_longer_than_each_of_the_others_once() -> None:
    pair = [demand(latency=0.041, hold=0.02, load=0.39)] * 2
    assert obstacle(pair) is None  # the mean of the queue alone would be 0.07 s


def test_beyond_full_and_in_bursts_everybody_is_waited_for() -> None:
    many = [demand(latency=0.1, hold=0.01, load=0.01)] * 11
    assert obstacle(many) is None
    assert obstacle(many, evolve(PLAIN, bursty=True)) is not None
    assert obstacle([evolve(one, load=0.08) for one in many]) is not None
    assert obstacle(many[:9], evolve(PLAIN, bursty=True)) is None


def test_the_lock_and_the_margin_count() -> None:
    two = [demand(latency=0.01, hold=0.004)] * 2
    assert obstacle(two, evolve(PLAIN, lock_wait=0.005)) is None
    assert obstacle(two, evolve(PLAIN, lock_wait=0.007)) is not None
    assert obstacle(two, evolve(PLAIN, margin=0.5)) is None
    assert obstacle(two, evolve(PLAIN, margin=0.3)) is not None


def test_computing_offenders_may_share_a_node_under_one_lock_and_sleeping_ones_may_not() -> None:
    computing = [demand(latency=0.01, hold=0.02, load=0.1)] * 3
    sleeping = [evolve(one, computing=0.0) for one in computing]
    one_lock = evolve(PLAIN, one_lock=True)
    assert obstacle(computing, one_lock) is None
    assert obstacle(computing) is not None, "without a lock another node is another processor"
    assert obstacle(sleeping, one_lock) is not None
    assert obstacle([*computing, sleeping[0]], one_lock) is not None
    assert obstacle([*computing, demand(latency=0.01, load=0.1)], one_lock) is not None


def test_where_offenders_are_excused_the_others_are_kept_what_they_were_promised() -> None:
    sleeping = [demand(latency=0.01, hold=0.02, load=0.1, computing=0.0)] * 3
    excused = evolve(PLAIN, excused=True)
    assert obstacle(sleeping, excused) is None
    found = obstacle([*sleeping, demand(latency=0.01)], excused)
    assert found is not None
    assert found.victim.hold == 0.0


def test_an_assumed_hold_makes_nobody_an_offender() -> None:
    assumed = [demand(latency=0.01, hold=0.02, measured=False)] * 2
    assert obstacle(assumed, evolve(PLAIN, excused=True, one_lock=True)) is not None


def test_an_obstacle_says_who_waits_for_what() -> None:
    found = obstacle([demand(latency=0.01), demand(latency=1.0, hold=0.02, kind="app.Slow")])
    assert str(found) == "Kind declaring 0.01 s might wait 0.02 s, 0.02 s of it for one other"


conditions = st.builds(
    Conditions,
    full=st.sampled_from([0.25, 0.8]),
    lock_wait=st.sampled_from([0.0, 1 / 256, 1 / 32]),
    margin=st.sampled_from([0.5, 1.0]),
    bursty=st.booleans(),
    one_lock=st.booleans(),
    excused=st.booleans(),
)


@settings(deadline=None)
@given(workers=st.lists(demands, max_size=8), conditions=conditions)
def test_groups_decide_as_worker_by_worker(workers: list[Demand], conditions: Conditions) -> None:
    victims = find_victims(workers, conditions)
    found = obstacle(workers, conditions)
    assert (found is None) == (not victims)
    if found is not None:
        assert any(
            (victim.kind, victim.required_latency, victim.hold)
            == (found.victim.kind, found.victim.required_latency, found.victim.hold)
            for victim in victims
        )


@settings(deadline=None)
@given(workers=st.lists(demands, min_size=1, max_size=8), conditions=conditions)
def test_who_leaves_makes_room(workers: list[Demand], conditions: Conditions) -> None:
    """Nobody waits longer because somebody else has gone, unless that one was the excuse."""
    conditions = evolve(conditions, one_lock=False)
    if obstacle(workers, conditions) is None:
        assert obstacle(workers[1:], conditions) is None


@pytest.mark.parametrize("backwards", [False, True])
@settings(deadline=None)
@given(workers=st.lists(demands, max_size=8), conditions=conditions)
def test_the_order_does_not_matter(
    backwards: bool, workers: list[Demand], conditions: Conditions
) -> None:
    groups = roster(workers).groups()
    other = tuple(reversed(groups)) if backwards else tuple(sorted(groups, key=lambda g: g.hold))
    assert (find_obstacle(groups, conditions) is None) == (find_obstacle(other, conditions) is None)


def test_a_node_of_which_too_much_is_asked_is_an_obstacle_that_another_node_cures() -> None:
    """However long they can wait, the queue would grow; with one lock, of waiting only."""
    waits = roster([demand(latency=10.0, hold=0.02, load=0.5, computing=0.0)] * 2).groups()
    found = find_obstacle(waits, Conditions(full=0.8, lock_wait=0.0, one_lock=True))
    assert found is not None
    assert str(found) == "Kind and others would need 100% of its time"
    assert find_obstacle(waits, Conditions(full=0.8, lock_wait=0.0, excused=True)) is None
    computes = roster([demand(latency=10.0, hold=0.02, load=0.5)] * 2).groups()
    assert find_obstacle(computes, Conditions(full=0.8, lock_wait=0.0, one_lock=True)) is None
    assert find_obstacle(computes, Conditions(full=0.8, lock_wait=0.0)) is not None
    assert find_obstacle(computes[:1], Conditions(full=0.3, lock_wait=0.0)) is not None
    alone = roster([demand(latency=10.0, hold=0.02, load=1.0)]).groups()
    assert find_obstacle(alone, Conditions(full=0.8, lock_wait=0.0)) is None


@settings(deadline=None, max_examples=300)
@given(
    there=st.lists(demands, max_size=6),
    newcomer=demands,
    bursty=st.booleans(),
    one_lock=st.booleans(),
    lock_wait=st.sampled_from([0.0, 1 / 256]),
)
def test_a_glance_finds_no_obstacle_that_a_search_does_not(
    there: list[Demand], newcomer: Demand, bursty: bool, one_lock: bool, lock_wait: float
) -> None:
    view, group = node("a", there, bursty=bursty), Group.of(newcomer)
    conditions = Conditions(full=0.75, lock_wait=lock_wait, bursty=bursty, one_lock=one_lock)
    if has_obstacle(view.totals, group, conditions.full):
        assert find_obstacle((*view.groups, group), conditions) is not None
