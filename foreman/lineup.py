"""The nodes in the order in which a newcomer is offered to them, kept up as they change."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Generic, Protocol, TypeAlias, TypeVar

from foreman.demand import NodeView
from foreman.roster import Roster

_Rank: TypeAlias = tuple[float, int, int]


class Ranked(Protocol):
    """What has to be known of a node."""

    @property
    def roster(self) -> Roster: ...


N = TypeVar("N", bound=Ranked)


class Lineup(Generic[N]):
    """Pictures of all nodes, the fullest first, the older first among equals. Owned by a ledger.

    A decision changes one or two nodes, and only these are looked at before the next one: what the
    picture costs does not grow with the nodes.

    Args:
        show: Makes the picture of one node as it is now.
    """

    def __init__(self, show: Callable[[N], NodeView]) -> None:
        self._show = show
        self._ages = count()
        self._changed: dict[N, None] = {}
        self._aged: dict[N, int] = {}
        self._ranked: dict[N, _Rank] = {}
        # In step with each other.
        self._ranks: list[_Rank] = []
        self._views: list[NodeView] = []
        self._updating = False

    def enlist(self, node: N) -> None:
        """There is a node more, which tells of its changes from now on."""
        self._aged[node] = next(self._ages)
        node.roster.on_change = partial(self.touch, node)
        self.touch(node)

    def strike_off(self, node: N) -> None:
        """There is a node less."""
        node.roster.on_change = None
        del self._aged[node]
        self._changed.pop(node, None)
        self._remove(node)

    def touch(self, node: N) -> None:
        """Something that its picture shows is not what it was."""
        self._changed[node] = None

    def views(self) -> tuple[NodeView, ...]:
        """All nodes as they are now."""
        if self._updating:  # a finalizer calls in, where the collector ran in the midst of it
            return tuple(view for _, view in sorted(map(self._look, self._aged), key=_by_rank))
        self._updating = True
        try:
            while self._changed:
                node, _ = self._changed.popitem()
                rank, view = self._look(node)
                self._remove(node)
                at = bisect_left(self._ranks, rank)
                self._ranks.insert(at, rank)
                self._views.insert(at, view)
                self._ranked[node] = rank
        except BaseException:  # such as Ctrl-C in the midst of it: look at all of them next time
            self._ranks.clear()
            self._views.clear()
            self._ranked.clear()
            self._changed = dict.fromkeys(self._aged)
            raise
        finally:
            self._updating = False
        return tuple(self._views)

    def _look(self, node: N) -> tuple[_Rank, NodeView]:
        view = self._show(node)
        return (-view.totals.load, -view.totals.count, self._aged[node]), view

    def _remove(self, node: N) -> None:
        rank = self._ranked.pop(node, None)
        if rank is not None:
            at = bisect_left(self._ranks, rank)
            del self._ranks[at], self._views[at]


def _by_rank(ranked: tuple[_Rank, NodeView]) -> _Rank:
    return ranked[0]
