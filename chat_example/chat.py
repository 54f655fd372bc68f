"""Who is where: nicknames, rooms, and what the others are told of it.

It knows people and rooms, and of connections only that one can be sent to and put into a group.
A room is a group of the server's; a person is in exactly one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from threading import Lock

from attrs import define

from chat_example.protocol import (
    Did,
    FromServer,
    Hello,
    Joined,
    Left,
    Renamed,
    Room,
    Said,
    Welcome,
    Whispered,
    encode,
)
from chat_example.rules import ChatError, nick_key
from netserver import Connection, Server

logger = logging.getLogger(__name__)

# The close code for a connection whose person came back on another; from the range that
# RFC 6455, section 7.4.2, leaves to applications, and clients do not reconnect after it.
REPLACED = 4000


@define(eq=False)
class Person:
    """Somebody who said hello.

    Written under the chat's lock, and only on the thread of their own connection, which therefore
    may read it without. Others who do read a name that may be a moment old.
    """

    connection: Connection
    nick: str
    room: str
    ticket: str


class Chat:
    """All rooms and nicknames of one server. Every method may be called from any thread.

    Args:
        server: Whose groups are the rooms.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        # People's connections live on different threads. The lock guards the nicknames, and is
        # held from a change of who is where until the others' notices are handed over, so that
        # everybody hears of the changes in the same order. Sending does not block.
        self._lock = Lock()
        self._people: dict[str, Person] = {}

    # ---------------------------------------------------------------- coming and going

    def enter(self, connection: Connection, hello: Hello, commands: Sequence[str]) -> Person:
        """Somebody comes; they are welcomed, and put into the room they asked for.

        Args:
            commands: What they are told that can be typed.

        Raises:
            ChatError: Somebody else has the nickname.
        """
        ticket = secrets.token_urlsafe(16)
        person = Person(connection, hello.nick, hello.room, ticket)
        with self._lock:
            before = self._people.get(nick_key(hello.nick))
            if before is not None:
                if not secrets.compare_digest(before.ticket, hello.ticket):
                    raise _taken(hello.nick)
                self._remove(before, "came back on another connection")
            self._people[nick_key(person.nick)] = person
            connection.identity = person
            _tell(person, Welcome(nick=person.nick, ticket=ticket, commands=list(commands)))
            self._arrive(person, hello.room)
        if before is not None:
            before.connection.close(REPLACED, "you came back on another connection")
        logger.info("%s came from %s", person.nick, connection.remote_address)
        return person

    def leave(self, person: Person, why: str) -> None:
        """Somebody goes. Does nothing when they have gone before."""
        with self._lock:
            if self._people.get(nick_key(person.nick)) is not person:
                return
            self._remove(person, why)
        logger.info("%s went: %s", person.nick, why)

    def move(self, person: Person, room: str) -> None:
        """Somebody goes to another room.

        Raises:
            ChatError: They are there already.
        """
        with self._lock:
            if person.room == room:
                raise ChatError("same-room", f"you are in #{room} already")
            self._require(person)
            self._depart(person, f"went to #{room}")
            self._arrive(person, room)

    def rename(self, person: Person, nick: str) -> None:
        """Somebody takes another nickname.

        Raises:
            ChatError: Somebody else has it.
        """
        with self._lock:
            self._require(person)
            if self._people.get(nick_key(nick), person) is not person:
                raise _taken(nick)
            del self._people[nick_key(person.nick)]
            old, person.nick = person.nick, nick
            self._people[nick_key(nick)] = person
            self._tell_room(person.room, Renamed(room=person.room, old=old, new=nick))
        logger.info("%s is called %s now", old, nick)

    # ---------------------------------------------------------------- talking

    def say(self, person: Person, text: str) -> None:
        """Somebody says something to their room."""
        self._tell_room(person.room, Said(room=person.room, nick=person.nick, text=text))

    def act(self, person: Person, text: str) -> None:
        """Somebody does something in their room."""
        self._tell_room(person.room, Did(room=person.room, nick=person.nick, text=text))

    def whisper(self, person: Person, to: str, text: str) -> None:
        """Somebody tells one other something; both get it.

        Raises:
            ChatError: There is nobody of that name.
        """
        with self._lock:
            other = self._people.get(nick_key(to))
        if other is None:
            raise ChatError("nobody", f"nobody here is called {to}")
        message = Whispered(sender=person.nick, to=other.nick, text=text)
        if not _tell(other, message):
            raise ChatError("nobody", f"{other.nick} is just leaving")
        if other is not person:
            _tell(person, message)

    # ---------------------------------------------------------------- looking around

    def people(self, room: str) -> list[str]:
        """The nicknames in a room, sorted; empty for one that does not exist."""
        members = self._server.groups.members(room)
        return sorted((member.identity.nick for member in members), key=nick_key)

    def rooms(self) -> dict[str, int]:
        """How many people are in each room, by name."""
        groups = self._server.groups
        counts = {room: len(groups.members(room)) for room in sorted(groups)}
        return {room: count for room, count in counts.items() if count}

    # ---------------------------------------------------------------- under the lock

    def _arrive(self, person: Person, room: str) -> None:
        person.room = room
        person.connection.join(room)
        _tell(person, Room(room=room, people=self.people(room)))
        self._tell_room(room, Joined(room=room, nick=person.nick), exclude=person)

    def _depart(self, person: Person, why: str) -> None:
        person.connection.leave(person.room)
        self._tell_room(person.room, Left(room=person.room, nick=person.nick, why=why))

    def _remove(self, person: Person, why: str) -> None:
        del self._people[nick_key(person.nick)]
        self._depart(person, why)

    def _require(self, person: Person) -> None:
        """Somebody whose place was taken over may still have a line under way."""
        if self._people.get(nick_key(person.nick)) is not person:
            raise ChatError("gone", "you have left")

    # ---------------------------------------------------------------- telling

    def _tell_room(self, room: str, message: FromServer, exclude: Person | None = None) -> None:
        left_out = None if exclude is None else exclude.connection
        self._server.broadcast(encode(message), group=room, exclude=left_out)


def _tell(person: Person, message: FromServer) -> bool:
    return person.connection.send(encode(message))


def _taken(nick: str) -> ChatError:
    return ChatError("nick-taken", f"somebody else is called {nick}")
