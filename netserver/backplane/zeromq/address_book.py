"""The addresses at which there are peers, or may be. Pure: no socket, the time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from attrs import define

from netserver.backplane.url import Address
from netserver.backplane.zeromq.wire import MOST_PEERS, NO_KEY, PeerInfo
from netwire import Backoff
from netwire.backoff import Retry

# An address that was only told of by other peers is forgotten when nobody was there for so long,
# seconds. Those who are there tell of it again.
FORGET_AFTER = 60.0

# Short at first, for a peer that restarts is back in a second; and never long, for what a server
# publishes meanwhile does not reach it.
BACKOFF = Backoff(first=0.25, cap=5.0, reset_after=5.0)


class Origin(Enum):
    """Why an address is known."""

    LISTED = "listed"  # in the URL: tried for ever
    NAMED = "named"  # under the DNS name: tried as long as it is there
    TOLD = "told"  # by itself, or by another peer


class Phase(Enum):
    """What goes on at an address."""

    WAITING = "waiting"
    TRYING = "trying"
    UP = "up"
    ALIAS = "alias"  # of a peer to which there is a link already
    SELF = "self"


@define(eq=False)
class _Place:
    address: Address
    origin: Origin
    retry: Retry
    due: float
    key: bytes = NO_KEY
    advertised: Address | None = None  # what the peer itself says
    phase: Phase = Phase.WAITING
    peer: bytes = b""
    since: float = 0.0  # when it came up, or was last there
    tried: bool = False  # to the end, at least once


class AddressBook:
    """Which addresses there are, and when each is to be tried.

    Args:
        own_id, own: This server's id and address.
        random: Gives a number from 0 to 1, for the waits.
    """

    def __init__(self, own_id: bytes, own: Address, random: Callable[[], float]) -> None:
        self._own_id, self._own = own_id, own
        self._random = random
        self._places: dict[Address, _Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def up(self) -> list[PeerInfo]:
        """The peers to which there is a link, under the addresses that they themselves tell."""
        return [
            PeerInfo(place.advertised or place.address, place.key)
            for place in self._places.values()
            if place.phase is Phase.UP
        ]

    @property
    def settled(self) -> bool:
        """Whether each address was tried to the end, with success or without."""
        return all(place.tried for place in self._places.values())

    def phase(self, address: Address) -> Phase | None:
        """What goes on there; None if it is not known."""
        place = self._places.get(address)
        return None if place is None else place.phase

    def key(self, address: Address) -> bytes:
        """The public key that was told, or found right; `NO_KEY` if none."""
        place = self._places.get(address)
        return NO_KEY if place is None else place.key

    def add(self, info: PeerInfo, origin: Origin, now: float) -> bool:
        """Get to know an address; whether it is a new one.

        It is not if it is this server's own, or one too many: a peer could tell of any number.
        """
        place = self._places.get(info.address)
        if place is not None:
            # Listed stays listed; what a name no longer has may still be told.
            if origin is Origin.LISTED or place.origin is Origin.TOLD:
                place.origin = origin
            if place.phase is Phase.WAITING and info.key != NO_KEY:
                place.key = info.key
            return False
        if info.address == self._own or len(self._places) >= MOST_PEERS:
            return False
        if origin is Origin.TOLD and any(info.address == known.address for known in self.up):
            return False
        retry = Retry(BACKOFF)
        place = _Place(info.address, origin, retry, due=now, key=info.key, since=now)
        self._places[info.address] = place
        return True

    def calls(self, info: PeerInfo, now: float) -> bool:
        """A peer has called from there, so it is there now: try it at once. Whether it is new."""
        if self.add(info, Origin.TOLD, now):
            return True
        place = self._places.get(info.address)
        if place is not None and place.phase is Phase.WAITING:
            place.due = now
        return False

    def named(self, addresses: Iterable[Address], now: float) -> None:
        """All that the DNS name has now."""
        there = set(addresses)
        for place in self._places.values():
            if place.origin is Origin.NAMED and place.address not in there:
                place.origin, place.since = Origin.TOLD, now
        for address in there:
            self.add(PeerInfo(address), Origin.NAMED, now)

    def take_due(self, now: float) -> list[Address]:
        """Those to be tried now; each is followed by `met` or `lost`."""
        due = [
            place
            for place in self._places.values()
            if place.phase is Phase.WAITING and place.due <= now
        ]
        for place in due:
            place.phase = Phase.TRYING
        return [place.address for place in due]

    def met(self, address: Address, peer: bytes, info: PeerInfo, now: float) -> Phase:
        """A peer has introduced itself there.

        Args:
            info: What it says of itself, with the key that was found right.

        Returns:
            `Phase.UP` if the link is wanted, `Phase.ALIAS` if there is one to this peer already,
            `Phase.SELF` if it is this server.
        """
        place = self._places[address]
        place.tried = True
        place.peer, place.key, place.since = peer, info.key, now
        place.advertised = info.address
        if peer == self._own_id:
            place.phase = Phase.SELF
        elif any(p.phase is Phase.UP and p.peer == peer for p in self._places.values()):
            place.phase = Phase.ALIAS
        else:
            place.phase = Phase.UP
        return place.phase

    def lost(self, address: Address, now: float, *, left: bool = False) -> None:
        """The attempt there has failed, or the link has ended.

        Args:
            left: The peer said so; then it is forgotten, if it was only told of.
        """
        place = self._places.get(address)
        if place is None:
            return
        lived = now - place.since if place.phase is Phase.UP else 0.0
        if place.phase is Phase.UP:
            place.since = now
            for alias in self._places.values():
                if alias.phase is Phase.ALIAS and alias.peer == place.peer:
                    alias.phase, alias.due = Phase.WAITING, now
        place.tried = True
        place.phase = Phase.WAITING
        place.due = now + (place.retry.next_delay(lived, self._random) or 0.0)
        if left and place.origin is Origin.TOLD:
            del self._places[address]

    def again(self, now: float) -> None:
        """Try all at once, as if for the first time; those that are up were lost before."""
        for place in self._places.values():
            if place.phase is Phase.WAITING:
                place.due, place.tried = now, False

    def forget(self, now: float) -> None:
        """Forget those only told of that have long been gone."""
        for place in list(self._places.values()):
            idle = place.phase in (Phase.WAITING, Phase.ALIAS)
            if place.origin is Origin.TOLD and idle and now - place.since >= FORGET_AFTER:
                del self._places[place.address]
