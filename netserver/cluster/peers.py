"""Which other servers are there: those that share a group with this one, heard from or not."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

# A server that went is listened for so long, seconds: after a netsplit it comes back by itself.
REMEMBERED = 3600.0

# So many are known at most: ten times what a cluster was ever simulated with, so that whoever makes
# up servers on the broker does not fill the memory.
MOST = 10_000


@define(eq=False)
class Peer:
    """Another server.

    Attributes:
        heard: When it was heard from last, seconds.
        groups: What it has in common with this one.
        alive: Whether it was not taken for gone.
    """

    heard: float
    groups: set[str] = field(factory=set)
    alive: bool = True


class Peers:
    """The other servers. Not thread-safe: its owner calls it, and tells it the time.

    Args:
        dead_after: Silence after which one is taken for gone, seconds.
        watch, unwatch: Called with the id of each that is to be listened for, or is no more.
    """

    def __init__(
        self,
        dead_after: float,
        watch: Callable[[str], None],
        unwatch: Callable[[str], None],
    ) -> None:
        self._dead_after = dead_after
        self._watch, self._unwatch = watch, unwatch
        self._peers: dict[str, Peer] = {}

    def __len__(self) -> int:
        """How many are there."""
        return sum(peer.alive for peer in self._peers.values())

    def meet(self, server: str, group: str, now: float) -> bool:
        """It has a group in common with this one; False for one too many."""
        peer = self._peers.get(server)
        if peer is None:
            if len(self._peers) >= MOST and not self._forget_a_dead_one():
                return False
            peer = self._peers[server] = Peer(now)
            self._watch(server)
        peer.groups.add(group)
        return True

    def _forget_a_dead_one(self) -> bool:
        dead = next((server for server, peer in self._peers.items() if not peer.alive), None)
        if dead is None:
            return False
        self.forget(dead)
        return True

    def groups(self, server: str) -> set[str]:
        """What it has in common with this one."""
        peer = self._peers.get(server)
        return set() if peer is None else peer.groups

    def hear(self, server: str, now: float) -> set[str]:
        """It is there. Returns the groups it had in common, if it was taken for gone."""
        peer = self._peers.get(server)
        if peer is None:
            return set()
        peer.heard = now
        if peer.alive:
            return set()
        peer.alive = True
        return set(peer.groups)

    def part(self, group: str) -> None:
        """This server has nothing to do with a group any more."""
        for server, peer in list(self._peers.items()):
            peer.groups.discard(group)
            if not peer.groups:
                self.forget(server)

    def forget(self, server: str) -> set[str]:
        """It said goodbye, or has nothing in common any more. Returns what it had."""
        peer = self._peers.pop(server, None)
        if peer is None:
            return set()
        self._unwatch(server)
        return peer.groups

    def find_dead(self, now: float) -> list[str]:
        """Those that were not heard from in time until then; each is told once."""
        dead = []
        for server, peer in list(self._peers.items()):
            if peer.alive and now - peer.heard > self._dead_after:
                peer.alive = False
                dead.append(server)
            elif not peer.alive and now - peer.heard > REMEMBERED:
                self.forget(server)
        return dead

    def excuse(self, now: float) -> None:
        """Nothing could be heard until now: it was not their fault."""
        for peer in self._peers.values():
            if peer.alive:
                peer.heard = now
