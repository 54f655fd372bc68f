"""What names and lines may be, and how fast they may come. Pure, and known to both ends."""

from __future__ import annotations

import re
import unicodedata

LOBBY = "lobby"

# Characters; what fits a line on a phone, beside the text.
NICK_LIMIT = 24
ROOM_LIMIT = 32

# Bytes of a line in UTF-8.
TEXT_LIMIT = 4 * 1024

# Messages a second that a client may send in the long run, and at once after a pause.
RATE = 5.0
BURST = 10

_ROOM = re.compile(r"[\w.-]+")
_TICKET = re.compile(r"[\w-]{0,64}", re.ASCII)
_SINCE = re.compile(r"(\d{1,18}@[\w.:+-]{1,64})?", re.ASCII)


class ChatError(Exception):
    """Something that a person asked for and cannot have.

    Attributes:
        code: What is wrong, for programs.
        text: The same, for people.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return self.text


def check_nick(nick: str) -> str:
    """A nickname as it will be used.

    Raises:
        ChatError: It is empty, too long, or holds spaces or characters that cannot be seen.
    """
    nick = unicodedata.normalize("NFC", nick.strip())
    if not nick:
        raise ChatError("bad-nick", "a nickname is not empty")
    if len(nick) > NICK_LIMIT:
        raise ChatError("bad-nick", f"a nickname has at most {NICK_LIMIT} characters")
    if any(unicodedata.category(c)[0] in "CZ" for c in nick) or nick.startswith("/"):
        raise ChatError("bad-nick", "a nickname has no spaces or control characters, nor / first")
    return nick


def nick_key(nick: str) -> str:
    """What two nicknames have in common that people would take for the same."""
    return unicodedata.normalize("NFKC", nick).casefold()


def check_room(room: str) -> str:
    """A room's name as it will be used; ``#`` before it is ignored.

    Raises:
        ChatError: It is empty, too long, or has other characters than letters, digits and ``._-``.
    """
    room = unicodedata.normalize("NFKC", room.strip().removeprefix("#")).casefold()
    if len(room) > ROOM_LIMIT:
        raise ChatError("bad-room", f"a room's name has at most {ROOM_LIMIT} characters")
    if not _ROOM.fullmatch(room):
        raise ChatError("bad-room", "a room's name is letters, digits, dots, dashes, underscores")
    return room


def check_text(text: str) -> str:
    """A line as it will be passed on.

    Raises:
        ChatError: It is empty, too long, or holds control characters, which could take over the
            terminal of whoever reads it.
    """
    text = text.strip()
    if not text:
        raise ChatError("empty", "there is nothing in that line")
    if any(c != "\t" and unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        raise ChatError("bad-text", "a line has no line breaks and no control characters")
    if len(text.encode()) > TEXT_LIMIT:
        raise ChatError("too-long", f"a line has at most {TEXT_LIMIT} bytes")
    return text


def check_ticket(ticket: str) -> None:
    """Let a ticket through as the server gives them, or an empty one.

    Raises:
        ChatError: It cannot be one.
    """
    if not _TICKET.fullmatch(ticket):
        raise ChatError("bad-ticket", "that is no ticket of this server")


def check_since(since: str) -> None:
    """Let through how far somebody has read, as the server tells it, or nothing.

    Raises:
        ChatError: It cannot be that.
    """
    if not _SINCE.fullmatch(since):
        raise ChatError("bad-since", "no server of this chat has said that you have read so far")


class Pace:
    """How fast somebody may go: a token bucket that can be overdrawn. Not thread-safe.

    Args:
        rate: Tokens that come in a second.
        burst: The most it holds; what it begins with.
        now: The time, seconds, on the clock that `spend` is told.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def spend(self, now: float) -> float:
        """Take one token, and tell how many are left; less than 0 is too fast."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1
        self._at = now
        return self._tokens
