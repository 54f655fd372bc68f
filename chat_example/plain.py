"""The chat as plain lines, for scripts: what is read is typed, what is told is printed."""

from __future__ import annotations

import asyncio
import codecs
import os
import threading
import time
from collections.abc import Callable

from chat_example.render import plain, render
from chat_example.rules import BURST, RATE, TEXT_LIMIT, Pace
from chat_example.session import GOODBYE, Item, Notice, Session

STDIN = 0

# How long to wait for what was said in the room before, seconds: with a cluster it is with the
# broker, and that may be away.
ROOM_PATIENCE = 5.0


async def run_plain(url: str, nick: str, room: str) -> int:
    """Chat until standard input ends, or the server says goodbye.

    Returns:
        The exit status: 1 when the nickname was refused, or the connection failed.

    Raises:
        netclient.ConnectFailed: There is no server.
    """

    def show(item: Item) -> None:
        try:
            for line in render(item, session.nick):
                print(plain(line), flush=True)
        except BrokenPipeError:  # whoever read has read enough
            session.ended.set()

    session = Session(url, nick, room, show)
    await session.open()
    typing = asyncio.ensure_future(_type_all(session, show))
    tasks = [typing, asyncio.ensure_future(session.ended.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await session.close()
    return 0 if session.refused is None and session.failure is None else 1


async def _type_all(session: Session, show: Callable[[Item], None]) -> None:
    typed = _StandardInput()
    first = asyncio.ensure_future(typed.next_line())
    answered = asyncio.ensure_future(session.answered.wait())
    try:
        await asyncio.wait({first, answered}, return_when=asyncio.FIRST_COMPLETED)
        # What is said before the room is there would be told as what was said before, or not at all
        # to whoever leaves at once. Without a line to say, a server that is gone is not waited for.
        leaves = first.done() and first.result() is None
        patience = GOODBYE if leaves else ROOM_PATIENCE
        while not (await asyncio.wait({answered}, timeout=patience))[0]:
            if leaves:
                return
            if session.welcomed:
                show(
                    Notice(f"what was said in #{session.room} cannot be had now; without it, then")
                )
                break
        if session.refused:
            return
        line = await first
    finally:
        first.cancel()
        answered.cancel()
    # Half of what the server allows at once: what the network bunches is no flood.
    pace = Pace(RATE, BURST / 2, time.monotonic())
    while line is not None:
        tokens = pace.spend(time.monotonic())
        await asyncio.sleep(max(0.0, -tokens / RATE))
        await session.type(line)
        line = await typed.next_line()


class _StandardInput:
    """Lines of standard input, read on a thread: a loop cannot wait for every kind of file."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        # Keeps the thread from reading much further than has been sent.
        self._room = threading.Semaphore(BURST)
        threading.Thread(target=self._read, name="standard input", daemon=True).start()

    async def next_line(self) -> str | None:
        """The next line; None at the end."""
        line = await self._lines.get()
        self._room.release()
        return line

    def _read(self) -> None:
        # Not sys.stdin, whose lock a thread still waiting for a line would keep at exit.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        try:
            while data := os.read(STDIN, 4096):
                *lines, rest = (rest + decoder.decode(data)).split("\n")
                for line in lines:
                    self._put(line)
                if len(rest) > TEXT_LIMIT:  # too long already: it is refused, and not kept
                    self._put(rest)
                    rest = ""
            if rest:
                self._put(rest)
            self._put(None)
        except RuntimeError:
            pass  # the loop is closed: the chat has ended, and nobody wants the rest

    def _put(self, line: str | None) -> None:
        self._room.acquire()
        self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
