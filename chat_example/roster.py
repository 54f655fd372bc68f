"""Who is in which room, on all servers: pure, kept by what the servers tell of each other's people.

A server says of each of its people what nickname they have and which room they are in. What the
others in the rooms are to be told of a change is found by comparing with how it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from threading import Lock
from typing import Any, TypeAlias

from attrs import frozen

from chat_example.protocol import Joined, Left, Renamed
from chat_example.rules import nick_key
from netserver import Member

Notice: TypeAlias = Joined | Left | Renamed

_Seat: TypeAlias = tuple[str, int]  # a connection: its server, and its number there


@frozen
class Place:
    """What a server tells of a person.

    Args:
        nick: What they are called.
        room: Where they are.
        visit: Another number for each time that they came to a room.
    """

    nick: str
    room: str
    visit: int

    @property
    def data(self) -> Any:
        """For `netserver.Connection.join`."""
        return [self.nick, self.room, self.visit]

    @classmethod
    def of(cls, member: Member) -> Place | None:
        """What was told of a member; None where that makes no sense."""
        match member.data:
            case [str(nick), str(room), int(visit)]:
                return cls(nick, room, visit)
        return None


class Roster:
    """Who is where. Thread-safe: one lock guards all of it.

    Somebody who came back may be there twice for a while: on the server they are connected to, and
    on the one that has not noticed yet that they are gone, or is gone itself. To the others they
    have neither come nor gone, as long as one of the two is there.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._places: dict[_Seat, Place] = {}
        self._rooms: dict[str, Counter[str]] = {}  # nicknames, by room
        self._nicks: dict[str, Counter[str]] = {}  # nicknames, by what makes them the same

    def change(self, came: Iterable[Member], went: Iterable[Member]) -> list[Notice]:
        """Somebody came, went, or is elsewhere or called otherwise, as `Server.on_presence` tells.

        Returns:
            What those in the rooms are to be told.
        """
        places = {_seat(member): None for member in went} | {
            _seat(member): Place.of(member) for member in came
        }
        with self._lock:
            return [notice for seat, now in places.items() for notice in self._put(seat, now)]

    def people(self, room: str) -> list[str]:
        """The nicknames in a room, sorted; empty for one that does not exist."""
        with self._lock:
            return sorted(self._rooms.get(room, ()), key=nick_key)

    def rooms(self) -> dict[str, int]:
        """How many people are in each room, by name."""
        with self._lock:
            return {room: len(self._rooms[room]) for room in sorted(self._rooms)}

    def spelling(self, nick: str) -> str | None:
        """How somebody spells a nickname; None when nobody has it."""
        with self._lock:
            return next(iter(self._nicks.get(nick_key(nick), ())), None)

    # ---------------------------------------------------------------- under the lock

    def _put(self, seat: _Seat, now: Place | None) -> list[Notice]:
        before = self._places.pop(seat, None)
        if now is not None:
            self._places[seat] = now
        came = now is not None and self._add(now)
        went = before is not None and self._drop(before)
        match before, now:
            case Place(nick=old, room=here), Place(nick=new, room=there) if here == there:
                return [Renamed(room=here, old=old, new=new)] if old != new else []
            case _:
                notices: list[Notice] = []
                if before is not None and went:
                    why = "left" if now is None else f"went to #{now.room}"
                    notices.append(Left(room=before.room, nick=before.nick, why=why))
                if now is not None and came:
                    notices.append(Joined(room=now.room, nick=now.nick))
                return notices

    def _add(self, place: Place) -> bool:
        """Whether nobody of that name was in the room."""
        self._nicks.setdefault(nick_key(place.nick), Counter())[place.nick] += 1
        room = self._rooms.setdefault(place.room, Counter())
        room[place.nick] += 1
        return room[place.nick] == 1

    def _drop(self, place: Place) -> bool:
        """Whether nobody of that name is in the room any more."""
        _take_one(self._nicks, nick_key(place.nick), place.nick)
        return _take_one(self._rooms, place.room, place.nick)


def _take_one(counters: dict[str, Counter[str]], name: str, item: str) -> bool:
    """One less, and nothing kept that is empty; whether it was the last."""
    counter = counters[name]
    counter[item] -= 1
    if last := not counter[item]:
        del counter[item]
        if not counter:
            del counters[name]
    return last


def _seat(member: Member) -> _Seat:
    return member.server, member.id
