"""What the ledger makes of what it is told: costs, conduct, relapses, and pictures of it all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import define, evolve, field

from foreman import BestFit, Demand, Place, Placement, Relocate, Spawn
from foreman.decisions import Action
from foreman.demand import NodeView, Snapshot
from foreman.ledger import (
    BELIEVED_AFTER,
    BURSTY_FOR,
    ENDS_CALM,
    IN_A_ROW,
    MOST_STAY,
    ONE_WAIT,
    RELAPSE_COUNTS,
    RESTLESS,
    RESTLESS_FOR,
    STAY,
    WINDOWS_BELIEVED_AFTER,
    Cost,
    Ledger,
)
from foreman.seat import Seat
from tests.foreman.simulation import SimNode
from tests.foreman.views import demand


@define
class Onlooker:
    """A policy that keeps the pictures it is shown, and decides nothing of its own."""

    shown: list[Snapshot] = field(factory=list)

    def assume(self, kind: str, required_latency: float, shown: Demand | None) -> Demand:
        return BestFit().assume(kind, required_latency, shown)

    def place(
        self, demand: Demand, snapshot: Snapshot, home: str | None = None, avoid: str | None = None
    ) -> Placement:
        self.shown.append(snapshot)
        return Place(home or snapshot.nodes[0].name, f"not {avoid}")

    def review(self, snapshot: Snapshot) -> Sequence[Action]:
        self.shown.append(snapshot)
        return ()


@define(eq=False)
class Book:
    """A ledger with one node, and the policy that looks at it."""

    policy: Onlooker = field(factory=Onlooker)
    node: SimNode = field(factory=lambda: SimNode("node-1"))
    ledger: Ledger[SimNode] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ledger = Ledger(self.policy, max_nodes=8)
        self.ledger.enlist(self.node, 0.0)

    def add(self, one: Demand | None = None) -> Seat:
        one = one or self.ledger.assume("app.Kind", 1.0, None)
        return self.ledger.seat(object(), self.node, one, "")

    def view(self, now: float = 0.0) -> NodeView:
        self.ledger.review(now, 0.0)
        return self.policy.shown[-1].nodes[0]


@pytest.fixture
def book() -> Book:
    return Book()


def cost(
    runs: int = BELIEVED_AFTER,
    hold: float = 0.001,
    *,
    load: float = 0.1,
    computing: float | None = None,
    movable: bool = True,
) -> Cost:
    return Cost(runs=runs, hold=hold, mean=hold, load=load, computing=computing, movable=movable)


# ---------------------------------------------------------------- learning


def test_that_holds_are_short_is_believed_after_a_few_runs(book: Book) -> None:
    seat = book.add()
    book.ledger.learn([(seat, cost(BELIEVED_AFTER - 1))])
    assert (seat.demand.hold, seat.demand.measured) == (0.25, False)
    assert seat.demand.load == 0.1, "the room that was reserved is given back at once"
    book.ledger.learn([(seat, cost(BELIEVED_AFTER))])
    assert (seat.demand.hold, seat.demand.measured) == (0.001, True)
    (group,) = book.node.roster.groups()
    assert (group.hold, group.measured) == (0.001, True)


def test_who_runs_seldom_is_believed_after_a_few_occasions(book: Book) -> None:
    seat = book.add()
    for runs in range(1, WINDOWS_BELIEVED_AFTER):
        book.ledger.learn([(seat, cost(runs))])
        book.ledger.learn([(seat, cost(runs))])  # it has not run in this window
    assert not seat.demand.measured
    book.ledger.learn([(seat, cost(WINDOWS_BELIEVED_AFTER))])
    assert seat.demand.measured


def test_that_holds_are_long_is_believed_at_once(book: Book) -> None:
    seat = book.add()
    book.ledger.learn([(seat, cost(1, 0.3))])
    assert (seat.demand.hold, seat.demand.measured) == (0.3, True)


def test_a_mean_is_never_more_than_the_longest(book: Book) -> None:
    """They fade at different rates."""
    seat = book.add()
    book.ledger.learn([(seat, Cost(runs=99, hold=0.001, mean=0.002, load=0.1))])
    assert seat.demand.mean == 0.001


def test_what_it_computes_is_kept_while_it_cannot_be_told(book: Book) -> None:
    seat = book.add()
    book.ledger.learn([(seat, cost(computing=0.25))])
    book.ledger.learn([(seat, cost(computing=None))])
    assert seat.demand.computing == 0.25


def test_whether_it_can_move_is_learnt_before_its_holds_are_believed(book: Book) -> None:
    seat = book.add()
    book.ledger.learn([(seat, cost(1, movable=False))])
    assert (seat.demand.movable, seat.demand.measured) == (False, False)


def test_the_next_of_a_class_is_taken_for_like_those_before(book: Book) -> None:
    assert book.ledger.assume("app.Kind", 1.0, 0.002).hold == 0.002
    assert book.ledger.assume("app.Kind", 1.0, None).hold == 0.25
    book.ledger.learn([(book.add(), cost(hold=0.004))])
    for expected in (0.002, None):
        assert book.ledger.assume("app.Kind", 0.1, expected).hold == pytest.approx(0.004)
    assert book.ledger.assume("app.Other", 1.0, None).hold == 0.25


def test_who_says_that_it_takes_long_is_not_put_with_strangers_all_the_same() -> None:
    ledger: Ledger[SimNode] = Ledger(BestFit(), max_nodes=8)
    strict, bulk = SimNode("strict"), SimNode("bulk")
    for node in (strict, bulk):
        ledger.enlist(node, 0.0)
    ledger.seat(object(), strict, demand(latency=0.1), "")
    for expected, placement in ((0.9, Spawn), (0.001, Place), (None, Place)):
        newcomer = ledger.assume("loose", 1.0, expected)
        seats = [ledger.seat(object(), bulk, newcomer, "") for _ in range(500)]
        assert isinstance(ledger.place(newcomer, 1e-4), placement)
        for seat in seats:
            bulk.roster.remove(seat, seat.demand)


def test_however_many_latencies_are_declared_the_groups_are_few(book: Book) -> None:
    for number in range(5000):
        book.add(book.ledger.assume("app.Kind", 0.01 + number / 5000, None))
    seat = book.add()
    for number in range(100):
        demand = book.ledger.redeclare(seat, 0.01 + number / 7777, None)
        book.ledger.reseat(seat, book.node, demand, "why")
    assert len(book.node.roster.groups()) < 64
    assert len(book.node.roster.latencies) <= 22


def test_what_was_done_long_ago_does_not_count_for_ever(book: Book) -> None:
    """After a rest, one is what its class has shown, unless it has shown less."""
    seats = [book.add() for _ in range(9)]
    book.ledger.learn([(seat, cost(hold=0.001)) for seat in seats[:8]])
    book.ledger.learn([(seats[0], cost(hold=0.5)), (seats[1], cost(hold=1e-5))])
    book.ledger.rest(book.node.roster.members(), 10.0)
    assert seats[0].demand.hold < 0.1
    assert seats[1].demand.hold == 1e-5
    assert {seat.demand.load for seat in seats} == {0.0}
    (*_, stranger) = seats
    assert not stranger.demand.measured


def test_one_that_could_not_leave_is_asked_again_after_a_rest(book: Book) -> None:
    seat, other = book.add(demand(movable=False)), book.add(demand(movable=False))
    seat.stays_until = 30.0
    book.ledger.rest(book.node.roster.members(), 20.0)
    assert not seat.demand.movable
    book.ledger.rest(book.node.roster.members(), 40.0)
    assert (seat.demand.movable, other.demand.movable) == (True, False)


# ---------------------------------------------------------------- conduct


def test_one_that_can_be_moved_by_now_is_otherwise_what_it_was(book: Book) -> None:
    seat = book.add(fixed := demand(hold=0.001, load=0.1, movable=False))
    book.ledger.free(seat)
    assert seat.demand == evolve(fixed, movable=True)
    (group,) = book.view().groups
    assert (group.movable, group.count, group.load) == (True, 1, 0.1)


def test_a_node_is_shown_as_it_is_now(book: Book) -> None:
    assert book.view().groups == ()
    book.add()
    assert book.view().count == 1
    book.ledger.mark_stuck(book.node, True)
    assert book.view().stuck
    book.ledger.mark_stuck(book.node, False)
    book.ledger.begin_action(book.node, retiring=True)
    assert (book.view().stuck, book.view().retiring) == (False, True)
    assert book.ledger.is_retiring(book.node)
    book.ledger.place(demand(), 0.001)
    assert book.policy.shown[-1].nodes[0].retiring
    book.ledger.end_action(book.node, 1.0)
    assert not book.view().retiring


def test_misses_in_a_row_are_counted_and_single_ones_are_not(book: Book) -> None:
    for n in range(1, 4):
        book.ledger.was_late(book.node, n * IN_A_ROW / 2)
        assert book.view().late == n
    book.ledger.was_late(book.node, 3 * IN_A_ROW)
    assert book.view().late == 1


def test_one_long_wait_is_one_miss_however_often_it_is_looked_at(book: Book) -> None:
    for n in range(1, 20):
        book.ledger.was_late(book.node, 1.0 + n * ONE_WAIT / 20)
    assert book.view().late == 1


def test_what_a_stuck_node_misses_is_no_burst_and_ends_its_calm(book: Book) -> None:
    book.ledger.was_late(book.node, 1.0)
    book.ledger.mark_stuck(book.node, True)
    for n in range(20):
        book.ledger.was_late(book.node, 2.0 + n)
    book.ledger.mark_stuck(book.node, False)
    view = book.view(30.0)
    assert (view.late, view.calm) == (0, 9.0)


def test_calm_is_ended_by_misses_in_a_row_only(book: Book) -> None:
    for n in range(ENDS_CALM):
        assert book.view(20.0).calm == 20.0
        book.ledger.was_late(book.node, 10.0 + n * IN_A_ROW / 2)
    assert book.view(20.0).calm < 10.0


def test_after_an_action_a_node_is_judged_anew(book: Book) -> None:
    book.ledger.was_late(book.node, 1.0)
    book.ledger.begin_action(book.node)
    assert book.view(5.0).settled == 0.0, "while it lasts"
    book.ledger.end_action(book.node, 5.0)
    view = book.view(7.0)
    assert (view.late, view.settled, view.calm) == (0, 2.0, 2.0)


def test_who_is_moved_by_the_program_unsettles_its_nodes(book: Book) -> None:
    book.ledger.unsettle(book.node, 4.0)
    view = book.view(7.0)
    assert (view.settled, view.calm) == (3.0, 3.0)


def test_a_burst_that_was_seen_is_remembered(book: Book) -> None:
    book.add(demand())
    (group,) = book.node.roster.groups()
    book.ledger.accuse(Relocate("node-1", group, 1, "", bursty=True), 1.0)
    book.ledger.begin_action(book.node)
    book.ledger.end_action(book.node, 2.0)
    assert book.view(3.0).bursty


def test_a_burst_is_forgotten_after_a_long_calm(book: Book) -> None:
    """Where somebody is to be placed, too."""
    book.add(demand())
    (group,) = book.node.roster.groups()
    book.ledger.accuse(Relocate("node-1", group, 1, "", bursty=True), 1.0)
    book.ledger.end_action(book.node, 2.0)
    assert book.view(2.0 + BURSTY_FOR).bursty
    book.ledger.place(demand(), 0.0)
    assert book.policy.shown[-1].nodes[0].bursty
    assert not book.view(3.0 + BURSTY_FOR).bursty
    book.ledger.place(demand(), 0.0)
    assert not book.policy.shown[-1].nodes[0].bursty


def test_a_node_that_has_ended_is_not_asked_about(book: Book) -> None:
    """What is said of it may come late, from another thread."""
    book.ledger.strike_off(book.node)
    book.ledger.was_late(book.node, 1.0)
    book.ledger.mark_stuck(book.node, True)
    book.ledger.end_action(book.node, 1.0)
    book.ledger.unsettle(book.node, 1.0)
    assert not book.ledger.is_retiring(book.node)
    assert book.ledger.nodes == ()


# ---------------------------------------------------------------- relapses


def relapses(book: Book, now: float) -> int:
    book.ledger.review(now, 0.0)
    return book.policy.shown[-1].relapses


def test_only_who_was_pardoned_relapses_and_it_is_forgotten_in_time(book: Book) -> None:
    seat = book.add(demand())
    (group,) = book.node.roster.groups()
    accusation = Relocate("node-1", group, 1, "")
    assert book.ledger.accuse(accusation, 1.0) == [seat]
    assert relapses(book, 1.0) == 0, "the first time"
    book.ledger.accuse(accusation, 2.0)
    assert relapses(book, 2.0) == 0, "it was not let back among the others"
    assert book.ledger.pardon(book.node) == [seat]
    book.ledger.accuse(accusation, 3.0)
    assert relapses(book, 3.0) == 1
    book.ledger.accuse(accusation, 4.0)
    assert relapses(book, 4.0) == 1, "pardoned once, relapsed once"
    assert relapses(book, 3.0 + RELAPSE_COUNTS) == 1
    assert relapses(book, 3.5 + RELAPSE_COUNTS) == 0


def test_who_never_offended_needs_no_pardon(book: Book) -> None:
    seat = book.add(demand())
    book.ledger.pardon(book.node)
    assert not seat.pardoned


def test_the_worst_are_accused_first(book: Book) -> None:
    seats = [book.add(demand(hold=0.01 + n / 1000)) for n in range(4)]
    (group,) = book.node.roster.groups()
    accused = book.ledger.accuse(Relocate("node-1", group, 2, ""), 1.0)
    assert accused == [seats[3], seats[2]]
    assert [seat.offended for seat in seats] == [False, False, True, True]


# ---------------------------------------------------------------- seats


def test_a_seat_counts_where_it_is_and_as_what_it_is(book: Book) -> None:
    other = SimNode("node-2")
    book.ledger.enlist(other, 0.0)
    assert book.ledger.find("node-2") is other
    seat = book.add(demand(load=0.5))
    book.ledger.reseat(seat, other, evolve(seat.demand, load=0.25), "why")
    assert (seat.node, seat.reason) == (other, "why")
    assert (book.node.roster.count, other.roster.groups()[0].load) == (0, 0.25)
    book.ledger.unseat(seat)
    assert other.roster.count == 0


def test_the_policy_is_told_who_is_where_and_what_to_avoid(book: Book) -> None:
    seat = book.add(demand())
    decision = book.ledger.place(seat.demand, 0.005, home=book.node, avoid=book.node)
    assert decision == Place("node-1", "not node-1")
    assert (book.policy.shown[-1].max_nodes, book.policy.shown[-1].lock_delay) == (8, 0.005)


def test_what_is_learned_of_one_that_is_on_its_way_counts_where_it_goes() -> None:
    """It is still metered where it was, and nobody else of its kind need be there."""
    book = Book()
    there = SimNode("node-2")
    book.ledger.enlist(there, 0.0)
    leaving = book.add(demand(kind="app.Leaving", measured=False))
    stays = book.add(demand(kind="app.Stays", measured=False))
    book.ledger.reseat(leaving, there, leaving.demand, "it moves")
    cost = Cost(runs=BELIEVED_AFTER, hold=0.01, mean=0.01, load=0.1)
    book.ledger.learn([(leaving, cost), (stays, cost)])
    assert leaving.demand.load == stays.demand.load == 0.1
    for kind in ("app.Leaving", "app.Stays"):
        assert book.ledger.assume(kind, 1.0, None).load == pytest.approx(0.1)


def test_one_that_is_moved_away_again_and_again_is_left_where_it_goes_for_a_while(
    book: Book,
) -> None:
    seat = book.add(demand(hold=2.0))
    (group,) = book.node.roster.groups()
    accuse = Relocate("node-1", group, 1, "why")
    now = 0.0
    for _ in range(RESTLESS - 1):
        book.ledger.accuse(accuse, now)
        now += 60.0
    assert seat.stays_until == 0.0
    stays = []
    for _ in range(6):
        book.ledger.accuse(accuse, now)
        stays.append(seat.stays_until - now)
        now = seat.stays_until
    assert stays == [STAY, 2 * STAY, 4 * STAY, 8 * STAY, MOST_STAY, MOST_STAY]
    now += RESTLESS_FOR
    book.ledger.accuse(accuse, now)
    assert seat.stays_until < now, "it was quiet for long enough"


def test_one_that_does_it_again_once_forgiven_is_not_forgiven_as_soon(book: Book) -> None:
    seats = [book.add() for _ in range(8)]
    book.ledger.learn([(seat, cost(hold=0.001)) for seat in seats])
    seat = seats[0]
    for relapses in range(4):
        book.ledger.learn([(seat, cost(hold=2.0))])
        (group,) = [group for group in book.node.roster.groups() if group.hold == 2.0]
        book.ledger.accuse(Relocate("node-1", group, 1, "why"), 1000.0 * relapses)
        forgiven_after = [
            seconds
            for seconds in (5.0, 59.0, 61.0, 121.0, 241.0)
            if book.ledger.rest([seat], 1000.0 * relapses + seconds)
        ]
        assert forgiven_after[0] == (5.0, 61.0, 121.0, 241.0)[relapses]
