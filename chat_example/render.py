"""Messages as lines of a terminal: pure, styled text."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import TypeAlias

from chat_example.protocol import (
    Bye,
    Did,
    Error,
    Help,
    History,
    Joined,
    Left,
    People,
    Renamed,
    Room,
    Rooms,
    Said,
    Welcome,
    Whispered,
)
from chat_example.rules import nick_key
from chat_example.session import Item, Notice

# Style and text, as prompt_toolkit takes them; one list is one line.
Fragments: TypeAlias = list[tuple[str, str]]

NOTICE = "ansibrightblack"
PRIVATE = "italic"
ERROR = "ansired"

# The terminal's own colours, which its owner has chosen to be readable on the background.
_COLOURS = ("ansigreen", "ansiblue", "ansimagenta", "ansicyan", "ansiyellow", "ansired")


def colour(nick: str) -> str:
    """A nickname's colour: always the same one."""
    return _COLOURS[zlib.crc32(nick_key(nick).encode()) % len(_COLOURS)]


def render(item: Item, me: str) -> list[Fragments]:
    """The lines that show a message.

    Args:
        me: The reader's own nickname.
    """
    match item:
        case Did(nick=nick, text=text):
            return [[(NOTICE, "* "), *_name(nick), (_mention(text, me, nick), f" {text}")]]
        case Said(nick=nick, text=text):
            return [[*_name(nick), ("", ": "), (_mention(text, me, nick), text)]]
        case Whispered(sender=sender, to=to, text=text):
            ends = [*_you(sender, me), (NOTICE, " to "), *_you(to, me)]
            return [[*ends, (NOTICE, ", in private: "), (PRIVATE, text)]]
        case Joined(nick=nick):
            return _notice(f"{nick} came in")
        case Left(nick=nick, why=why):
            return _notice(f"{nick} {why}")
        case Renamed(old=old, new=new):
            return _notice(f"{'you are' if new == me else f'{old} is'} called {new} now")
        case Welcome(nick=nick):
            return _notice(f"welcome, {nick}; /help lists the commands")
        case Room(room=room, people=people):
            others = [each for each in people if each != me]
            return _notice(f"you are in #{room} with {_list(others) or 'nobody else yet'}")
        case History():
            return _notice("not everything that was said meanwhile may be here")
        case People(room=room, people=people):
            return _notice(f"in #{room}: {_list(people) or 'nobody'}")
        case Rooms(rooms=rooms):
            return _notice("rooms: " + _list(f"#{room} ({n})" for room, n in rooms.items()))
        case Help(commands=commands):
            width = max(map(len, commands), default=0)
            lines = [[("bold", f"  {use:{width}}"), ("", f"  {commands[use]}")] for use in commands]
            return [*_notice("what you can type:"), *lines]
        case Error(text=text):
            return [[(ERROR, f"! {text}")]]
        case Bye(text=text) | Notice(text=text):
            return _notice(text)


def plain(fragments: Fragments) -> str:
    """A line without its styles."""
    return "".join(text for _, text in fragments)


def _notice(text: str) -> list[Fragments]:
    return [[(NOTICE, f"* {text}")]]


def _name(nick: str) -> Fragments:
    return [(f"bold {colour(nick)}", nick)]


def _you(nick: str, me: str) -> Fragments:
    return [("bold", "you")] if nick == me else _name(nick)


def _mention(text: str, me: str, nick: str) -> str:
    return "bold" if nick != me and nick_key(me) in nick_key(text) else ""


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)
