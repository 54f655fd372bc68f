"""What the two ends tell each other: JSON objects with a ``type`` and the fields of one class here.

Over WebSocket each is a text message; over TCP the same JSON as UTF-8, one to an envelope. A client
says `Hello` once and then sends `Line` after `Line`, commands among them: what a slash means is the
server's business alone, so that the page and the terminal need not agree on it.

The server answers with `Welcome`, then `Room`, then `History` and what was said in the room before,
and from then on tells what happens. What is said has a ``position``. A client that was cut off says
the last one it got in its next `Hello`, on whatever server, and is sent what it missed.

    ws    {"type":"hello","nick":"ada","room":"lobby","ticket":""}
    tcp   256{"type":"hello","nick":"ada","room":"lobby","ticket":""}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
from attrs import define, field, validators

from chat_example.rules import (
    LOBBY,
    ChatError,
    check_nick,
    check_room,
    check_since,
    check_text,
    check_ticket,
)

# Bytes of a whole message: room for a line of `TEXT_LIMIT` whose every character is escaped
# (\u0041), so that whoever writes too much is told so and not cut off.
MESSAGE_LIMIT = 32 * 1024


_TEXT = validators.instance_of(str)
_FLAG = validators.instance_of(bool)
_TIME = validators.instance_of((float, int))
_NAMES = validators.deep_iterable(_TEXT, validators.instance_of(list))
_COUNTS = validators.deep_mapping(_TEXT, validators.instance_of(int), validators.instance_of(dict))
_TEXTS = validators.deep_mapping(_TEXT, _TEXT, validators.instance_of(dict))


# ---------------------------------------------------------------- from a client


@define(kw_only=True)
class Hello:
    """The first message: who comes, and to which room.

    ``ticket`` is what `Welcome` gave before: with it a client that lost its connection gets its
    nickname back, though the server may not have noticed the loss yet. ``since`` is the last
    ``position`` it got in this room.
    """

    nick: str = field(validator=_TEXT)
    room: str = field(validator=_TEXT, default=LOBBY)
    ticket: str = field(validator=_TEXT, default="")
    since: str = field(validator=_TEXT, default="")

    def __attrs_post_init__(self) -> None:
        self.nick = check_nick(self.nick)
        self.room = check_room(self.room)
        check_ticket(self.ticket)
        check_since(self.since)


@define(kw_only=True)
class Line:
    """What a person typed: text for the room, or a command."""

    text: str = field(validator=_TEXT)

    def __attrs_post_init__(self) -> None:
        self.text = check_text(self.text)


# ---------------------------------------------------------------- from the server


@define(kw_only=True)
class Welcome:
    """The answer to `Hello`. ``commands`` are those that can be completed, without their slash."""

    nick: str = field(validator=_TEXT)
    ticket: str = field(validator=_TEXT)
    commands: list[str] = field(validator=_NAMES)


@define(kw_only=True)
class Room:
    """You are in this room now, with these people, yourself among them."""

    room: str = field(validator=_TEXT)
    people: list[str] = field(validator=_NAMES)


@define(kw_only=True)
class History:
    """What follows was said in the room before: since you were there, or what is kept of it.

    ``recovered`` is whether that is all since the ``since`` of your `Hello`. ``position`` is where
    it begins, for whoever is cut off before they get any of it. It comes again, not recovered,
    should something that was said meanwhile be lost.
    """

    room: str = field(validator=_TEXT)
    recovered: bool = field(validator=_FLAG)
    position: str = field(validator=_TEXT)


@define(kw_only=True)
class Joined:
    """Somebody came into your room."""

    room: str = field(validator=_TEXT)
    nick: str = field(validator=_TEXT)


@define(kw_only=True)
class Left:
    """Somebody left it; ``why`` in words."""

    room: str = field(validator=_TEXT)
    nick: str = field(validator=_TEXT)
    why: str = field(validator=_TEXT)


@define(kw_only=True)
class Renamed:
    """Somebody in your room, maybe you, has another nickname."""

    room: str = field(validator=_TEXT)
    old: str = field(validator=_TEXT)
    new: str = field(validator=_TEXT)


@define(kw_only=True)
class Said:
    """Somebody in your room, maybe you, said something.

    ``id`` is its own on every server: what was seen before need not be shown again. ``at`` is when
    it was said, in seconds since the epoch of Unix.
    """

    room: str = field(validator=_TEXT)
    nick: str = field(validator=_TEXT)
    text: str = field(validator=_TEXT)
    id: str = field(validator=_TEXT, default="")
    at: float = field(validator=_TIME, default=0.0)
    position: str = field(validator=_TEXT, default="")


@define(kw_only=True)
class Did(Said):
    """The same with ``/me``."""


@define(kw_only=True)
class Whispered:
    """A private message, to you or from you."""

    sender: str = field(validator=_TEXT)
    to: str = field(validator=_TEXT)
    text: str = field(validator=_TEXT)


@define(kw_only=True)
class People:
    """Who is in a room, which need not be yours."""

    room: str = field(validator=_TEXT)
    people: list[str] = field(validator=_NAMES)


@define(kw_only=True)
class Rooms:
    """The rooms there are, with how many are in each."""

    rooms: dict[str, int] = field(validator=_COUNTS)


@define(kw_only=True)
class Help:
    """How each command is used, with what it does."""

    commands: dict[str, str] = field(validator=_TEXTS)


@define(kw_only=True)
class Error:
    """What you asked for was not done; see `ChatError`."""

    code: str = field(validator=_TEXT)
    text: str = field(validator=_TEXT)


@define(kw_only=True)
class Bye:
    """You have left: close the connection, or say hello again.

    It is the client that closes, having read all. With lines of its own still unread at the server
    a close from there could overtake this message.
    """

    text: str = field(validator=_TEXT)


FromClient = Hello | Line
FromServer = (
    Welcome | Room | History | Joined | Left | Renamed | Said | Did
    | Whispered | People | Rooms | Help | Error | Bye
)  # fmt: skip

M = TypeVar("M")


def _table(classes: Any) -> dict[str, Any]:
    return {each.__name__.lower(): each for each in classes.__args__}


FROM_CLIENT: Mapping[str, type[FromClient]] = _table(FromClient)
FROM_SERVER: Mapping[str, type[FromServer]] = _table(FromServer)


# ---------------------------------------------------------------- to JSON and back


def encode(message: FromClient | FromServer) -> str:
    """A message as JSON."""
    return json.dumps(
        {"type": type(message).__name__.lower(), **attrs.asdict(message)},
        ensure_ascii=False,
        separators=(",", ":"),
    )


def decode(data: bytes | str, known: Mapping[str, type[M]]) -> M:
    """The message that some JSON holds. Fields that nobody knows are ignored.

    Args:
        known: What the other end may say, `FROM_CLIENT` or `FROM_SERVER`.

    Raises:
        ChatError: It holds none.
    """
    try:
        content = json.loads(data if isinstance(data, str) else data.decode())
    except (ValueError, RecursionError):
        raise ChatError("not-json", "a message is a JSON object in UTF-8") from None
    if not isinstance(content, dict):
        raise ChatError("not-json", "a message is a JSON object, not any other JSON")
    name = content.get("type")
    kind = known.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ChatError("unknown-type", f"the type of a message is one of {', '.join(known)}")
    fields = [each.name for each in attrs.fields(kind)]  # type: ignore[arg-type]
    try:
        return kind(**{name: content[name] for name in fields if name in content})
    except TypeError:
        wrong = f"{name} has the fields {', '.join(fields)}, each of its own type"
        raise ChatError("bad-fields", wrong) from None
