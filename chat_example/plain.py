"""The chat as plain lines, for scripts: what is read is typed, what is told is printed."""

from __future__ import annotations

import asyncio
import codecs
import os
import threading
import time

from chat_example.render import plain, render
from chat_example.rules import BURST, RATE, Pace
from chat_example.session import Item, Session

STDIN = 0


async def run_plain(url: str, nick: str, room: str) -> int:
    """Chat until standard input ends, or the server says goodbye.

    Returns:
        The exit status: 1 when the nickname was refused.

    Raises:
        netclient.ConnectFailed: There is no server.
    """

    def show(item: Item) -> None:
        try:
            for line in render(item, session.nick):
                print(plain(line), flush=True)
        except BrokenPipeError:  # whoever read has read enough
            session.ended.set()
        if session.welcomed or session.refused:
            answered.set()

    answered = asyncio.Event()
    session = Session(url, nick, room, show)
    await session.open()
    try:
        await answered.wait()
        if session.welcomed:
            typing = asyncio.ensure_future(_type_all(session))
            ended = asyncio.ensure_future(session.ended.wait())
            await asyncio.wait({typing, ended}, return_when=asyncio.FIRST_COMPLETED)
            typing.cancel()
            ended.cancel()
    finally:
        await session.close()
    return 1 if session.refused else 0


async def _type_all(session: Session) -> None:
    # Half of what the server allows at once: what the network bunches is no flood.
    pace = Pace(RATE, BURST / 2, time.monotonic())
    lines = _read_lines()
    while (line := await lines.get()) is not None:
        tokens = pace.spend(time.monotonic())
        await asyncio.sleep(max(0.0, -tokens / RATE))
        await session.type(line)


def _read_lines() -> asyncio.Queue[str | None]:
    """Read standard input on a thread of its own: a loop cannot wait for every kind of file.

    Returns:
        Where the lines come, and None at the end.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=BURST)

    def put(line: str | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()

    def read() -> None:
        # Not sys.stdin, whose lock a thread still waiting for a line would keep at exit.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while data := os.read(STDIN, 4096):
            *lines, rest = (rest + decoder.decode(data)).split("\n")
            for line in lines:
                put(line)
        if rest:
            put(rest)
        put(None)

    threading.Thread(target=read, name="standard input", daemon=True).start()
    return queue
