"""Messages that came before their handler was ready for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from netserver.intake import QUANTUM
from netserver.pauses import Pause
from netserver.pull import Pull
from netwire import Message

if TYPE_CHECKING:
    from netserver.shell import Shell


class Inbox:
    """What waits for one connection's handler. Owned by the thread of its node.

    It holds nothing itself, since most connections never use it: what waits is kept by the shell's
    `Serial` or, where `Connection.handle` pulls its messages, by its `Pull`.

    Above ``receive_limit`` bytes the connection is not read; below half of it, it is again. One
    read's messages always fit, so the limit is passed by at most that.

    Attributes:
        is_pulled: Whether the connection overrides `Connection.handle` and pulls its messages.
    """

    __slots__ = ("_shell",)

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    @property
    def is_pulled(self) -> bool:
        return self._shell.pull is not None

    def put(self, message: Message) -> None:
        """Keep a message until its handler is ready; stop reading when much has gathered."""
        shell = self._shell
        if shell.ending.failed:
            return
        if shell.admission is not None:
            shell.admission.early.append(message)
            return
        if shell.pull is not None:
            shell.pull.put(message)
            waiting = shell.pull.size
        else:
            shell.serial.call(self._deliver, message, size=len(message))
            waiting = shell.serial.size
        if waiting > shell.config.receive_limit:
            shell.pause_reading(Pause.HANDLER)

    def begin(self) -> None:
        """Have `Connection.handle` pull the messages from now on."""
        self._shell.pull = Pull(self._shell.node)
        self._shell.serial.call(self._run_handle)

    def messages(self) -> AsyncIterator[Message]:
        """The messages, for `Connection.handle`.

        Raises:
            RuntimeError: The connection does not override it: its messages go to `on_message`.
        """
        pull = self._shell.pull
        if pull is None:
            raise RuntimeError("to pull messages, override handle() instead of on_message()")
        return self._pulled(pull)

    def end(self) -> None:
        """No more messages come."""
        if self._shell.pull is not None:
            self._shell.pull.end()

    async def _run_handle(self) -> None:
        await self._shell.connection.handle()
        self._shell.ending.close(1000, "")

    def _deliver(self, message: Message) -> Any:
        self._release_below_half(self._shell.serial.size)
        return self._shell.connection.on_message(message)

    async def _pulled(self, pull: Pull) -> AsyncIterator[Message]:
        node = pull.node
        while True:
            while pull:
                message = pull.take()
                if not pull.ended:  # otherwise the connection may be gone
                    self._release_below_half(pull.size)
                yield message
                if node.clock() - node.hold_began >= QUANTUM:
                    await asyncio.sleep(0)  # the others on the node are due
            if pull.ended:
                return
            await pull.changed()

    def _release_below_half(self, waiting: int) -> None:
        if waiting <= self._shell.config.receive_limit // 2:
            self._shell.resume_reading(Pause.HANDLER)
