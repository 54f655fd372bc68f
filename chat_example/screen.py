"""The chat in a terminal: the line you type stays at the bottom, messages arrive above it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout

from chat_example.protocol import Said
from chat_example.render import NOTICE, Fragments, colour, render
from chat_example.session import Item, Session


class _Completer(Completer):
    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        line = document.text_before_cursor
        word = line.rpartition(" ")[2]
        for each in self._session.completions(line):
            yield Completion(each + " ", start_position=-len(word), display=each)


async def run_screen(url: str, nick: str, room: str) -> int:
    """Chat until Ctrl-C, Ctrl-D, ``/quit``, or the end of the server.

    Returns:
        The exit status: 1 when the connection failed.

    Raises:
        netclient.ConnectFailed: There is no server.
    """

    def show(item: Item) -> None:
        at = time.localtime(item.at if isinstance(item, Said) else None)
        for line in render(item, session.nick):
            now = time.strftime("%H:%M ", at)
            print_formatted_text(FormattedText([(NOTICE, now), *line]))
        prompt.app.invalidate()

    session = Session(url, nick, room, show)
    prompt: PromptSession[str] = PromptSession(
        lambda: _prompt(session),
        completer=_Completer(session),
        complete_while_typing=False,
        bottom_toolbar=lambda: _toolbar(session),
        key_bindings=_keys(),
    )
    # What was typed comes back from the server, with a time and a name.
    prompt.app.erase_when_done = True
    with patch_stdout(raw=True):
        await session.open()
        try:
            await _type_all(session, prompt)
        finally:
            await session.close()
    return 0 if session.failure is None else 1


def _keys() -> KeyBindings:
    """Ctrl-C leaves as Ctrl-D does: its usual KeyboardInterrupt would end the loop under us."""
    keys = KeyBindings()

    @keys.add("c-c")
    @keys.add("<sigint>")
    def leave(event: KeyPressEvent) -> None:
        event.app.exit(exception=EOFError)

    return keys


async def _type_all(session: Session, prompt: PromptSession[str]) -> None:
    ended = asyncio.ensure_future(session.ended.wait())
    while not session.ended.is_set():
        typed = asyncio.ensure_future(prompt.prompt_async())
        await asyncio.wait({typed, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not typed.done():
            typed.cancel()
            await asyncio.wait({typed})
            return
        try:
            line = typed.result()
        except EOFError:
            break
        await session.type(line)
    ended.cancel()


def _prompt(session: Session) -> FormattedText:
    if session.refused:
        return FormattedText([("bold", "nickname: ")])
    fragments: Fragments = [(f"bold {colour(session.nick)}", session.nick), (NOTICE, "> ")]
    return FormattedText(fragments)


def _toolbar(session: Session) -> FormattedText:
    if not session.connected:
        return FormattedText([("ansired", " connecting … ")])
    if not session.welcomed:
        return FormattedText([("", " choose a nickname · Ctrl-D leaves")])
    here = f" #{session.room} · {len(session.people)} here "
    return FormattedText([("", here + "· Tab completes · /help · Ctrl-D leaves")])
