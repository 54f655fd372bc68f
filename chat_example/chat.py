"""The chat on one server, which may be one of many: coming and going, rooms, and talking.

Who is where is told by presence: everybody is in one group, `PEOPLE`, with their nickname and room,
so that every server knows them all (`chat_example.roster`). A nickname is a connection's identity,
of which there is one in the whole cluster. A room is a group with a history (`chat_example.rooms`).
Nobody asks which server somebody is on, and with a single server nothing is different.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from attrs import define, field

from chat_example.protocol import (
    Did,
    Error,
    FromServer,
    Hello,
    Room,
    Said,
    Welcome,
    Whispered,
    encode,
)
from chat_example.rooms import ROOMS, RULES, group_of, read_position
from chat_example.roster import Place, Roster
from chat_example.rules import ChatError, nick_key
from netserver import (
    Connection,
    GroupRules,
    IdentityTaken,
    Member,
    Outcome,
    Position,
    Server,
    Settled,
    Unanswered,
)

logger = logging.getLogger(__name__)

# The close code for a connection whose person came back on another; from the range that
# RFC 6455, section 7.4.2, leaves to applications, and clients do not reconnect after it.
REPLACED = 4000

PEOPLE = "people"

# How long somebody's next line waits until the one before is done with, seconds: whoever says
# something and leaves sees both. While the broker is away they are not held up for ever.
IN_ORDER = 2.0

_visits = count(1)


@define(eq=False)
class Person:
    """Somebody who said hello. Written on the thread of their connection, but for ``hears``.

    Attributes:
        connection: Theirs.
        nick, room: What they are called, and where they are or are going.
        ticket: What they show to get their nickname back.
        since: How far they have read in the room that they came to.
        visit: A number for each coming to a room, so that who goes and comes at once has come.
        hears: The visit whose room they are told of, by the cluster's thread; None for none.
        placed: Settled when this server's people have been told where they are.
        farewell: What they are told when they are gone; None for nothing.
    """

    connection: Connection
    nick: str
    room: str
    ticket: str
    since: Position | None = None
    visit: int = field(factory=lambda: next(_visits))
    hears: int | None = None
    placed: Settled[bool] = field(factory=Settled[bool])
    farewell: FromServer | None = None


class Chat:
    """All rooms and nicknames, as one server sees them. Every method may be called from any thread.

    Args:
        server: Its people's, not started yet.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._roster = Roster()
        self._here: dict[int, Person] = {}  # this server's, by the numbers of their connections
        server.groups.set_rules(PEOPLE, GroupRules(presence=True))
        server.groups.set_rules(ROOMS, RULES)
        server.groups.watch(PEOPLE)

    # ---------------------------------------------------------------- coming and going

    async def enter(self, connection: Connection, hello: Hello, commands: Sequence[str]) -> Person:
        """Somebody comes; they are welcomed, and soon in the room that they asked for.

        Args:
            commands: What they are told that can be typed.

        Raises:
            ChatError: Somebody else has the nickname.
        """
        try:
            await self._call(connection, hello.nick)
        except ChatError:
            if not hello.ticket:
                raise
            # Whoever has it is asked, wherever they are; with this ticket they give way.
            with suppress(Unanswered):
                await self._server.ask(nick_key(hello.nick), hello.ticket)
            await self._call(connection, hello.nick)
        # They keep the one they have: a new one might be lost on its way to them.
        ticket = hello.ticket or secrets.token_urlsafe(16)
        person = Person(connection, hello.nick, hello.room, ticket, read_position(hello.since))
        self._here[connection.id] = person
        _tell(person, Welcome(nick=person.nick, ticket=ticket, commands=list(commands)))
        await self._place(person)
        logger.info("%s came from %s", person.nick, connection.remote_address)
        return person

    async def leave(self, person: Person, farewell: FromServer | None = None) -> None:
        """Somebody goes, though their connection may stay.

        Args:
            farewell: The last that they are told, behind all that they have said.
        """
        person.farewell = farewell
        person.connection.leave(PEOPLE)
        await person.connection.identify(None)
        logger.info("%s went", person.nick)

    async def give_way(self, person: Person, ticket: str | bytes) -> None:
        """Somebody came back on another connection, perhaps on another server.

        Raises:
            ChatError: That is somebody else.
        """
        shown = ticket.encode() if isinstance(ticket, str) else ticket
        if not secrets.compare_digest(person.ticket.encode(), shown):
            raise _taken(person.nick)
        await self.leave(person)
        person.connection.close(REPLACED, "you came back on another connection")

    def forget(self, connection: Connection) -> None:
        """A connection has ended; the server has taken it out of everything else already."""
        person = self._here.pop(connection.id, None)
        if person is not None and connection.identity is not None:
            logger.info("%s went", person.nick)

    async def move(self, person: Person, room: str) -> None:
        """Somebody goes to another room.

        Raises:
            ChatError: They are there already.
        """
        if person.room == room:
            raise ChatError("same-room", f"you are in #{room} already")
        person.room, person.since, person.visit = room, None, next(_visits)
        await self._place(person)

    async def rename(self, person: Person, nick: str) -> None:
        """Somebody takes another nickname.

        Raises:
            ChatError: Somebody else has it.
        """
        if nick == person.nick:
            return
        await self._call(person.connection, nick)
        logger.info("%s is called %s now", person.nick, nick)
        person.nick = nick
        await self._place(person)

    async def _call(self, connection: Connection, nick: str) -> None:
        """Let a connection have a nickname, if nobody else has it on any server."""
        try:
            await connection.identify(nick_key(nick))
        except IdentityTaken:
            raise _taken(nick) from None

    async def _place(self, person: Person) -> None:
        """Tell all servers where somebody is, and wait until this one has taken note of it."""
        person.placed = Settled()
        place = Place(person.nick, person.room, person.visit)
        person.connection.join(PEOPLE, place.data)
        await _for_a_while(person.placed)

    # ---------------------------------------------------------------- talking

    async def say(self, person: Person, text: str) -> None:
        """Somebody says something to their room."""
        await self._publish(person, Said(room=person.room, nick=person.nick, text=text))

    async def act(self, person: Person, text: str) -> None:
        """Somebody does something in their room."""
        await self._publish(person, Did(room=person.room, nick=person.nick, text=text))

    async def _publish(self, person: Person, line: Said) -> None:
        delivery = self._server.publish(group_of(line.room), encode(line))
        delivery.then(partial(_complain, person))
        await _for_a_while(delivery)

    async def whisper(self, person: Person, to: str, text: str) -> None:
        """Somebody tells one other something; both get it.

        Raises:
            ChatError: There is nobody of that name, or it is not known whether they got it.
        """
        nick = self._roster.spelling(to)
        if nick is None:
            raise ChatError("nobody", f"nobody here is called {to}")
        message = Whispered(sender=person.nick, to=nick, text=text)
        if nick_key(nick) != nick_key(person.nick):
            outcome = await self._server.send_to(nick_key(nick), encode(message))
            if outcome is Outcome.NOBODY:
                raise ChatError("nobody", f"{nick} is just leaving")
            if outcome is not Outcome.DELIVERED:
                raise ChatError("unreachable", f"{nick} cannot be reached; they may not get that")
        _tell(person, message)

    # ---------------------------------------------------------------- looking around

    def people(self, room: str) -> list[str]:
        """The nicknames in a room, sorted; empty for one that does not exist."""
        return self._roster.people(room)

    def rooms(self) -> dict[str, int]:
        """How many people are in each room, by name."""
        return self._roster.rooms()

    # ---------------------------------------------------------------- told by the server

    def follow(self, came: Sequence[Member], went: Sequence[Member]) -> None:
        """Who is where has changed, on whatever server; tell this server's people.

        On the cluster's thread, which alone puts people into rooms. So everybody hears of the
        changes in the same order, and nobody of one that was before their `Room`.
        """
        me = self._server.cluster.id.hex()
        places = {member.id: None for member in went if member.server == me} | {
            member.id: Place.of(member) for member in came if member.server == me
        }
        mine = [(person, place) for id, place in places.items() if (person := self._here.get(id))]
        moves = [
            (person, place)
            for person, place in mine
            if person.hears != (None if place is None else place.visit)
        ]
        for person, _ in moves:
            _leave_rooms(person)
        for notice in self._roster.change(came, went):
            self._server.broadcast(encode(notice), group=group_of(notice.room), local=True)
        for person, place in moves:
            person.hears = None if place is None else place.visit
            if place is None:
                if person.farewell is not None:
                    _tell(person, person.farewell)
            else:
                _tell(person, Room(room=place.room, people=self.people(place.room)))
                person.connection.join(group_of(place.room), since=person.since)
        for person, _ in mine:
            person.placed.settle(True)


async def _for_a_while(settled: Settled[Any]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(IN_ORDER):
            await settled


def _leave_rooms(person: Person) -> None:
    for group in person.connection.groups:
        if group != PEOPLE:
            person.connection.leave(group)


def _complain(person: Person, outcome: Outcome) -> None:
    """Tell somebody what became of a line that is not in the history of the room."""
    if outcome is not Outcome.QUEUED:
        why = "too much waits to be said, that line is lost"
        if outcome is Outcome.UNKNOWN:
            why = "it is not known whether that line was said: the server ends"
        _tell(person, Error(code="not-said", text=why))


def _tell(person: Person, message: FromServer) -> None:
    person.connection.send(encode(message))


def _taken(nick: str) -> ChatError:
    return ChatError("nick-taken", f"somebody else is called {nick}")
