"""What the Foreman knows: who counts where, what it costs, and how each node has kept its word.

The ledger decides nothing: it keeps the picture up to date, shows it to the policy, and enters
what was decided. It knows no threads, no loops and no clock, so a simulation can keep one as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from math import inf, nextafter
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, evolve, frozen

from foreman.decisions import Action, Placement, Policy, Relocate
from foreman.demand import Demand, NodeView, Snapshot
from foreman.experience import Experience
from foreman.latency import round_down
from foreman.lineup import Lineup
from foreman.roster import Roster
from foreman.seat import Record, Seat

# How often a worker must have run, or in how many windows, before its longest hold so far is taken
# for its longest. The windows are for those that run once in a while: when one has said hello, and
# has done something on a few occasions since, it has shown what it does.
BELIEVED_AFTER = 16
WINDOWS_BELIEVED_AFTER = 4

# Who held its node for longer than it would wait itself is taken for one that does until its holds
# are below this share of that: one whose holds vary about there would else be moved with each turn.
REFORMED = 0.5

# Broken promises less than this apart, seconds, are taken for one that was looked at again; a
# single thing that takes longer makes its node stuck.
ONE_WAIT = 0.1

# Broken promises less than this apart, seconds, are broken in a row, and so many in a row end a
# node's calm: one alone may be anybody's.
IN_A_ROW = 1.0
ENDS_CALM = 3

# How long the workers of a calm node are still taken to become ready together, seconds.
BURSTY_FOR = 600.0

# How long the highest load of a node is remembered at least, seconds; twice as long at most. Nodes
# are not merged as soon as those who run now and then are quiet.
BUSIEST_OF = 25.0

# Who was moved away so often, each time less than this many seconds after the last, is left where
# it goes for a while: it makes trouble, or has it, wherever it is. First for `STAY` seconds, and
# twice as long each time after that, up to `MOST_STAY`.
RESTLESS = 3
RESTLESS_FOR = 600.0
STAY = 60.0
MOST_STAY = 600.0

# For how long the long holds of one are remembered, although it rests, that was moved away for
# them, forgiven, and moved away again; seconds. Twice as long after each time more.
REMEMBERED = 60.0
MOST_REMEMBERED = 3600.0

# How long a relapse counts, seconds.
RELAPSE_COUNTS = 600.0


class Berth(Protocol):
    """What the ledger has to know of a node. Node names are never used again."""

    name: str
    roster: Roster


N = TypeVar("N", bound=Berth)


@frozen(kw_only=True)
class Cost:
    """What one worker was measured to cost, lately.

    Attributes:
        runs: How often it has run so far, ever.
        hold: Its longest hold, seconds.
        mean: Its mean hold, seconds.
        load: The share of its node's time it used, 0 to 1.
        computing: The share of its holds spent computing; None when they are too short to tell.
        movable: Whether it can leave its node.
    """

    runs: int
    hold: float
    mean: float
    load: float
    computing: float | None = None
    movable: bool = True


@define(eq=False)
class _Conduct:
    """How one node has kept its promises, and what is being done with it."""

    late: int = 0
    late_at: float = 0.0
    stuck: bool = False
    bursty: bool = False
    retiring: bool = False
    in_action: bool = False
    busiest: float = 0.0  # the highest load since then, and in the time before
    was_busiest: float = 0.0
    remembers_since: float = 0.0
    calm_since: float = 0.0
    settled_since: float = 0.0


class Ledger(Generic[N]):
    """Nodes, seats and experience. Guarded by its owner.

    Args:
        policy: What decides.
        max_nodes: The most nodes there may be.

    Attributes:
        nodes: The nodes there are, oldest first. Replaced, never changed.
    """

    def __init__(self, policy: Policy, max_nodes: int) -> None:
        self.nodes: tuple[N, ...] = ()
        self._policy = policy
        self._max_nodes = max_nodes
        self._experience = Experience()
        self._by_name: dict[str, N] = {}
        self._conducts: dict[str, _Conduct] = {}
        self._lineup: Lineup[N] = Lineup(self._view)
        self._relapses: deque[float] = deque(maxlen=16)

    # ---------------------------------------------------------------- nodes

    def enlist(self, node: N, now: float) -> None:
        """There is a node more."""
        self.nodes = (*self.nodes, node)
        self._by_name[node.name] = node
        self._conducts[node.name] = _Conduct(calm_since=now, remembers_since=now)
        self._lineup.enlist(node)

    def strike_off(self, node: N) -> None:
        """There is a node less."""
        self.nodes = tuple(other for other in self.nodes if other is not node)
        del self._by_name[node.name], self._conducts[node.name]
        self._lineup.strike_off(node)

    def find(self, name: str) -> N:
        """The node of that name."""
        return self._by_name[name]

    def mark_stuck(self, node: N, stuck: bool) -> None:
        """One thing keeps it from coming round, or does not any more."""
        conduct = self._conducts.get(node.name)
        if conduct is not None:
            conduct.stuck = stuck
            self._lineup.touch(node)

    def was_late(self, node: N, now: float) -> None:
        """It broke a promise."""
        conduct = self._conducts.get(node.name)
        if conduct is None:
            return
        since = now - conduct.late_at
        if conduct.stuck:  # one thing keeps them all waiting: that is neither a burst nor calm
            conduct.late, conduct.calm_since = 0, now
        elif since >= ONE_WAIT:
            conduct.late = conduct.late + 1 if since < IN_A_ROW else 1
            conduct.late_at = now
            if conduct.late >= ENDS_CALM:
                conduct.calm_since = now

    def begin_action(self, node: N, *, retiring: bool = False) -> None:
        """Some of its workers are being moved away; all of them when it is retiring."""
        conduct = self._conducts[node.name]
        conduct.in_action = True
        conduct.retiring = retiring
        self._lineup.touch(node)

    def end_action(self, node: N, now: float) -> None:
        """They have been. What was counted before is not about those who are left."""
        conduct = self._conducts.get(node.name)
        if conduct is not None:
            conduct.in_action = conduct.retiring = False
            conduct.late = 0
            conduct.busiest = conduct.was_busiest = 0.0
            conduct.settled_since = conduct.calm_since = conduct.remembers_since = now
            self._lineup.touch(node)

    def unsettle(self, node: N, now: float) -> None:
        """Somebody from outside changed what it runs: leave it like that for a while."""
        conduct = self._conducts.get(node.name)
        if conduct is not None:
            conduct.calm_since = conduct.settled_since = now

    def is_retiring(self, node: N) -> bool:
        """Whether nobody is to be placed on it any more."""
        conduct = self._conducts.get(node.name)
        return conduct is not None and conduct.retiring

    def rest(self, seats: Iterable[Seat], now: float) -> list[Seat]:
        """Workers have not run for a while: what was done long ago does not count for ever.

        They are reckoned with what would be assumed of them if they were new, unless they have
        shown less, or did it again after they were forgiven; and nothing is reserved any more for
        those who have not run although they could.

        Returns:
            Those whose long holds are forgotten.
        """
        forgiven: list[Seat] = []
        new_holds: dict[tuple[str, float], float] = {}
        for seat in seats:
            demand = seat.demand
            alike = (demand.kind, demand.required_latency)
            new_hold = new_holds.get(alike)
            if new_hold is None:
                new_hold = self._policy.assume(*alike, self._experience.of(demand.kind)).hold
                new_holds[alike] = new_hold
            hold = demand.hold if now < seat.remembered_until else min(demand.hold, new_hold)
            movable = demand.movable or 0.0 < seat.stays_until < now
            if hold < demand.hold:
                forgiven.append(seat)
                seat.pardon()
            if demand.load or hold != demand.hold or movable != demand.movable:
                mean = min(demand.mean, hold)
                self._enter(seat, evolve(demand, hold=hold, mean=mean, load=0.0, movable=movable))
        return forgiven

    def free(self, seat: Seat) -> None:
        """A worker can be moved now."""
        self._enter(seat, evolve(seat.demand, movable=True))

    # ---------------------------------------------------------------- workers

    def assume(self, kind: str, required_latency: float, expected_hold: float | None) -> Demand:
        """What to reckon with for a worker that has not run.

        Args:
            expected_hold: What its class says of itself, seconds; it counts until one has shown
                something. None when it says nothing.
        """
        shown = self._experience.of(kind)
        demand = self._policy.assume(kind, round_down(required_latency), shown)
        if shown is None and expected_hold is not None:
            stranger = demand.stranger and expected_hold <= demand.hold  # otherwise it is no guess
            demand = evolve(demand, hold=expected_hold, mean=expected_hold, stranger=stranger)
        return demand

    def redeclare(self, seat: Seat, required_latency: float, expected_hold: float | None) -> Demand:
        """What to reckon with for a worker if it declares something else from now on."""
        if seat.demand.measured:
            return evolve(seat.demand, required_latency=round_down(required_latency))
        return self.assume(seat.demand.kind, required_latency, expected_hold)

    def known(self, seat: Seat) -> Demand:
        """What to reckon with for a worker that is to be placed again.

        It is a stranger no more once one of its class has shown something, though it has not.
        """
        demand = seat.demand
        if demand.stranger and self._experience.of(demand.kind) is not None:
            return evolve(demand, stranger=False)
        return demand

    def place(
        self, demand: Demand, lock_delay: float, home: N | None = None, avoid: N | None = None
    ) -> Placement:
        """Ask the policy; nothing is entered."""
        snapshot = Snapshot(
            nodes=self._lineup.views(), max_nodes=self._max_nodes, lock_delay=lock_delay
        )
        return self._policy.place(
            demand,
            snapshot,
            home=None if home is None else home.name,
            avoid=None if avoid is None else avoid.name,
        )

    def seat(self, worker: Any, node: N, demand: Demand, reason: str) -> Seat:
        """Count a worker on a node."""
        seat = Seat(worker, node, demand, reason)
        node.roster.add(seat, demand)
        return seat

    def reseat(self, seat: Seat, node: N, demand: Demand, reason: str) -> None:
        """Count it elsewhere, or as something else."""
        seat.node.roster.remove(seat, seat.demand)
        node.roster.add(seat, demand)
        seat.node, seat.demand, seat.reason = node, demand, reason

    def unseat(self, seat: Seat) -> None:
        """Count it no more."""
        seat.node.roster.remove(seat, seat.demand)

    def learn(self, costs: Iterable[tuple[Seat, Cost]]) -> None:
        """Measured costs take the place of assumed ones.

        The room reserved for a worker is given back at once. That its holds are short is believed
        only when it has run a few times: until then it may not have met its real work yet. That
        they are long is believed at once.

        Args:
            costs: Of workers that ran on one node, within one window. Some may be on their way to
                another, where they count already.
        """
        where: dict[str, N] = {}  # one of the kind counts there
        ran: Counter[str] = Counter()
        shown: defaultdict[str, list[Demand]] = defaultdict(list)
        for seat, cost in costs:
            before = seat.demand
            where[before.kind] = seat.node
            ran[before.kind] += 1
            if cost.runs > seat.runs:
                seat.runs = cost.runs
                seat.windows += 1
            known = cost.runs >= BELIEVED_AFTER or seat.windows >= WINDOWS_BELIEVED_AFTER
            believed = known or cost.hold > before.hold
            hold, latency = cost.hold, before.required_latency
            if before.measured and before.hold > latency >= hold > REFORMED * latency:
                hold = nextafter(latency, inf)
            demand = Demand(
                kind=before.kind,
                required_latency=latency,
                hold=hold if believed else before.hold,
                mean=min(cost.mean, hold) if believed else before.mean,
                load=cost.load,
                computing=before.computing if cost.computing is None else cost.computing,
                measured=before.measured or believed,
                movable=cost.movable,
            )
            if believed:
                shown[demand.kind].append(demand)
            self._enter(seat, demand)
        for kind, node in where.items():
            self._experience.learn(kind, shown[kind], ran[kind], node.roster.mean_load(kind))

    def _enter(self, seat: Seat, demand: Demand) -> None:
        seat.node.roster.replace(seat, seat.demand, demand)
        seat.demand = demand

    @property
    def computing(self) -> float:
        """How much of a processor all workers use together, as far as they were measured."""
        groups = (group for node in self.nodes for group in node.roster.groups())
        return sum(group.computing for group in groups if group.measured)

    # ---------------------------------------------------------------- reviewing

    def review(self, now: float, lock_delay: float) -> Sequence[Action]:
        """What the policy would have done now."""
        while self._relapses and now - self._relapses[0] > RELAPSE_COUNTS:
            self._relapses.popleft()
        snapshot = Snapshot(
            nodes=tuple([self._view_at(view, now) for view in self._lineup.views()]),
            max_nodes=self._max_nodes,
            lock_delay=lock_delay,
            relapses=len(self._relapses),
        )
        return self._policy.review(snapshot)

    def accuse(self, action: Relocate, now: float) -> list[Seat]:
        """Whom a `Relocate` is about; that they are moved for what they do is noted."""
        conduct = self._conducts[action.node]
        if action.bursty and not conduct.bursty:
            conduct.bursty = True
            self._lineup.touch(self.find(action.node))
        seats = self.find(action.node).roster.members(action.group, action.count)
        if any(seat.pardoned for seat in seats):
            self._relapses.append(now)
        for seat in seats:
            if (record := seat.record) is None:
                record = seat.record = Record()
            if record.pardoned:
                remembered = min(MOST_REMEMBERED, REMEMBERED * 2 ** min(record.relapses, 8))
                record.remembered_until = now + remembered
                record.relapses += 1
            record.pardoned = False
            last = max(record.relocated_at, seat.stays_until)
            record.relocated = record.relocated + 1 if now - last < RESTLESS_FOR else 1
            record.relocated_at = now
            if record.relocated >= RESTLESS:
                doubled = 2 ** min(record.relocated - RESTLESS, 8)
                seat.stays_until = now + min(MOST_STAY, STAY * doubled)
        return seats

    def pardon(self, node: N) -> list[Seat]:
        """Everybody on a node that is given up: those who were moved there have another chance."""
        seats = node.roster.members()
        for seat in seats:
            seat.pardon()
        return seats

    def _view(self, node: N) -> NodeView:
        """A node as it is now, without times: all that placing looks at."""
        conduct = self._conducts[node.name]
        return NodeView(
            name=node.name,
            groups=node.roster.groups(),
            stuck=conduct.stuck,
            retiring=conduct.retiring,
            bursty=conduct.bursty,
        )

    def _view_at(self, view: NodeView, now: float) -> NodeView:
        """The same with times, for a review."""
        conduct = self._conducts[view.name]
        if conduct.bursty and now - conduct.calm_since > BURSTY_FOR:
            conduct.bursty = False
            self._lineup.touch(self.find(view.name))
        if now - conduct.remembers_since > BUSIEST_OF:
            conduct.was_busiest, conduct.busiest = conduct.busiest, 0.0
            conduct.remembers_since = now
        # What is only reserved keeps nobody busy.
        load = sum(group.load for group in view.groups if group.measured)
        conduct.busiest = max(load, conduct.busiest)
        return evolve(
            view,
            bursty=conduct.bursty,
            busiest=max(conduct.busiest, conduct.was_busiest),
            late=conduct.late if now - conduct.late_at < IN_A_ROW else 0,
            calm=now - conduct.calm_since,
            settled=0.0 if conduct.in_action else now - conduct.settled_since,
        )
