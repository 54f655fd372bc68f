"""One person's end of the chat, whatever shows it: says hello, comes back, knows who is here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from chat_example.protocol import (
    FROM_SERVER,
    MESSAGE_LIMIT,
    Bye,
    Error,
    FromServer,
    Hello,
    History,
    Joined,
    Left,
    Line,
    Renamed,
    Room,
    Rooms,
    Said,
    Welcome,
    decode,
    encode,
)
from chat_example.rules import ChatError, nick_key
from netclient import Backoff, Client, ClientError, ClientState, Limits

# How long a goodbye may take, seconds.
GOODBYE = 2.0

# A person looks at it, and will not wait for half a minute.
RECONNECT = Backoff(cap=10.0)

# Lines remembered, so that none is shown twice: as many as a server keeps of ten rooms.
SEEN = 1000

# A roster of a thousand people is longer than anything a client may send.
_LIMITS = Limits(message=32 * MESSAGE_LIMIT)


@frozen
class Notice:
    """Something that the client itself has to tell."""

    text: str


Item: TypeAlias = FromServer | Notice


class Session:
    """A client of the chat. Everything runs on the loop that called `open`.

    Args:
        url: Of the server, ``tcp://`` or ``ws://``.
        nick: The nickname to ask for.
        room: The room to begin in.
        show: Called with each message, after it is taken into account, and with each notice.
        reconnect: The waits before connecting again.

    Attributes:
        nick, room, people: Who and where this is, and who else; as the server told last.
        welcomed: Whether the server took the nickname; what is typed before is a nickname.
        refused: Why it did not take it; None when it did, or has not answered.
        answered: Set when the server has refused the nickname, or told what was said in the room.
        ended: Set when nothing more will come.
        failure: Why it ended, where nobody said goodbye; None otherwise.
    """

    def __init__(
        self,
        url: str,
        nick: str,
        room: str,
        show: Callable[[Item], None],
        *,
        reconnect: Backoff = RECONNECT,
    ) -> None:
        self.nick = nick
        self.room = room
        self.people: set[str] = set()
        self.welcomed = False
        self.refused: str | None = None
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()
        self.failure: str | None = None
        self._show = show
        self._ticket = ""
        self._since = ""  # how far it has read in the room
        self._seen: deque[str] = deque(maxlen=SEEN)
        self._commands: list[str] = []
        self._rooms: set[str] = {room}
        self._client = Client(
            url,
            reconnect=reconnect,
            limits=_LIMITS,
            on_open=self._say_hello,
            on_message=self._on_message,
            on_state=self._on_state,
        )

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._client.state is ClientState.OPEN

    async def open(self) -> None:
        """Connect.

        Raises:
            netclient.ConnectFailed: There is no server, or none that can be talked to.
        """
        await self._client.connect()

    async def type(self, line: str) -> None:
        """Send what the person typed; a new nickname, when the last one was refused."""
        if not line.strip() or self.ended.is_set():
            return
        if not self.connected or not (self.welcomed or self.refused):
            self._show(Notice("not connected; that line was not sent"))
            return
        try:
            if self.welcomed:
                await self._client.send(encode(Line(text=line)))
            else:
                self.nick, self.refused = line, None
                await self._say_hello()
        except (ChatError, ClientError) as error:
            self._show(Notice(f"not sent: {error}"))

    async def close(self) -> None:
        """Say goodbye, take what was still under way, and close."""
        if self.connected and self.welcomed:
            await self.type("/quit")
            try:
                await asyncio.wait_for(self.ended.wait(), GOODBYE)
            except TimeoutError:
                pass  # it hears of it from the end of the connection
        self.ended.set()
        await self._client.close()

    def completions(self, line: str) -> list[str]:
        """What the last word of a line may become: commands, rooms, or people."""
        *before, word = line.split(" ")
        if not before and word.startswith("/"):
            known = [f"/{name}" for name in self._commands]
        elif before and before[0] in ("/join", "/who"):
            known = sorted(self._rooms)
        else:
            known = sorted(self.people)
        return [each for each in known if nick_key(each).startswith(nick_key(word))]

    # ---------------------------------------------------------------- called by the client

    async def _say_hello(self) -> None:
        self.welcomed = False
        self.answered.clear()
        try:
            hello = Hello(nick=self.nick, room=self.room, ticket=self._ticket, since=self._since)
        except ChatError as error:
            self._refuse(error.text)
        else:
            await self._client.send(encode(hello))

    async def _on_message(self, data: bytes | str) -> None:
        if self.ended.is_set():
            return
        try:
            message = decode(data, FROM_SERVER)
        except ChatError as error:
            self._show(Notice(f"the server said something that is not understood: {error}"))
            return
        if isinstance(message, Error) and not self.welcomed:
            self._refuse(message.text)
            return
        if self._take(message):
            self._show(message)
        if isinstance(message, Bye):
            self.ended.set()
            await self._client.close()

    def _take(self, message: FromServer) -> bool:
        """Take a message into account; whether it is to be shown."""
        match message:
            case Welcome():
                self.welcomed, self.refused = True, None
                self.nick, self._ticket = message.nick, message.ticket
                self._commands = message.commands
            case Room():
                if message.room != self.room:
                    self._since = ""
                self.room, self.people = message.room, set(message.people)
                self._rooms.add(message.room)
            case History():
                self.answered.set()
                came_back, self._since = self._since != "", message.position
                return came_back and not message.recovered
            case Said():
                return self._read(message)
            # A notice of a room that was left meanwhile may come late.
            case Joined() if message.room == self.room:
                self.people.add(message.nick)
            case Left() if message.room == self.room:
                self.people.discard(message.nick)
            case Renamed():
                self.people.discard(message.old)
                self.people.add(message.new)
                if message.old == self.nick:
                    self.nick = message.new
            case Rooms():
                self._rooms.update(message.rooms)
        return True

    def _read(self, line: Said) -> bool:
        """Somebody said something; whether it is new."""
        if line.room == self.room:
            self._since = line.position
        if line.id in self._seen:
            return False
        self._seen.append(line.id)
        return True

    def _refuse(self, why: str) -> None:
        self.refused = why
        self.answered.set()
        self._show(Notice(f"{why}; type another nickname"))

    def _on_state(self, old: ClientState, new: ClientState) -> None:
        if self.ended.is_set():
            return
        if new is ClientState.RECONNECTING:
            self.welcomed, self.refused = False, None
            self._show(Notice("the connection is lost; trying again"))
        elif new is ClientState.CLOSED:
            self.ended.set()
            if old in (ClientState.OPEN, ClientState.RECONNECTING):
                self.failure = self._client.close_reason
                self._show(Notice(f"the connection ended: {self.failure}"))
