"""What a person may type: text for the room, or a command; one table for every kind of client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import frozen

from chat_example.chat import Chat, Person
from chat_example.protocol import Bye, FromServer, Help, People, Rooms
from chat_example.rules import LOBBY, ChatError, check_nick, check_room

# What a command does; what it returns is the answer to the person who typed it.
Action = Callable[[Chat, Person, Sequence[str]], Awaitable[FromServer | None]]


@frozen(kw_only=True)
class Command:
    """One command.

    Args:
        parameters: Their names; the last takes the rest of the line, one in brackets may be
            left out.
        summary: What it does, for ``/help``.
        action: Does it, given as many arguments as were typed.
    """

    parameters: str = ""
    summary: str
    action: Action

    def split(self, name: str, rest: str) -> list[str]:
        """The arguments in the rest of a line.

        Raises:
            ChatError: They are too few or too many.
        """
        most = self.parameters.split()
        least = [each for each in most if not each.startswith("[")]
        arguments = rest.split(maxsplit=len(most) - 1) if most else rest.split()
        if not len(least) <= len(arguments) <= len(most):
            raise ChatError("usage", f"it is used like this: {self.usage(name)}")
        return arguments

    def usage(self, name: str) -> str:
        """How it is typed."""
        return f"/{name} {self.parameters}".rstrip()


async def _leave(chat: Chat, person: Person, arguments: Sequence[str]) -> None:
    if person.room == LOBBY:
        raise ChatError("same-room", f"you are in #{LOBBY}; /quit leaves the chat")
    await chat.move(person, LOBBY)


async def _who(chat: Chat, person: Person, arguments: Sequence[str]) -> People:
    room = check_room(arguments[0]) if arguments else person.room
    return People(room=room, people=chat.people(room))


async def _rooms(chat: Chat, person: Person, arguments: Sequence[str]) -> Rooms:
    return Rooms(rooms=chat.rooms())


async def _quit(chat: Chat, person: Person, arguments: Sequence[str]) -> None:
    await chat.leave(person, Bye(text="goodbye"))


async def _help(chat: Chat, person: Person, arguments: Sequence[str]) -> Help:
    return Help(commands={each.usage(name): each.summary for name, each in COMMANDS.items()})


COMMANDS = {
    "join": Command(
        parameters="ROOM",
        summary="go to a room, which is there once somebody is in it",
        action=lambda chat, person, given: chat.move(person, check_room(given[0])),
    ),
    "leave": Command(summary=f"go back to #{LOBBY}", action=_leave),
    "rooms": Command(summary="which rooms there are", action=_rooms),
    "who": Command(parameters="[ROOM]", summary="who is here, or there", action=_who),
    "msg": Command(
        parameters="NICK TEXT",
        summary="tell one person something, in private",
        action=lambda chat, person, given: chat.whisper(person, given[0], given[1]),
    ),
    "me": Command(
        parameters="TEXT",
        summary="say what you are doing",
        action=lambda chat, person, given: chat.act(person, given[0]),
    ),
    "nick": Command(
        parameters="NAME",
        summary="take another nickname",
        action=lambda chat, person, given: chat.rename(person, check_nick(given[0])),
    ),
    "help": Command(summary="this list", action=_help),
    "quit": Command(summary="leave the chat", action=_quit),
}


async def run_line(chat: Chat, person: Person, line: str) -> FromServer | None:
    """Do what a person typed.

    Args:
        line: What `check_text` let through. ``//`` at the front stands for a slash that is no
            command.

    Returns:
        The answer to that person alone; None when there is none.

    Raises:
        ChatError: It cannot be done.
    """
    if not line.startswith("/"):
        await chat.say(person, line)
        return None
    if line.startswith("//"):
        await chat.say(person, line[1:])
        return None
    name, _, rest = line[1:].partition(" ")
    command = COMMANDS.get(name.casefold())
    if command is None:
        raise ChatError("unknown-command", f"there is no /{name[:20]}; /help lists what there is")
    return await command.action(chat, person, command.split(name, rest))
