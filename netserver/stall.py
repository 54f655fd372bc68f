"""A peer that does not take what is written to it: what waits meanwhile, and until when."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from fcntl import ioctl
from struct import unpack
from termios import TIOCOUTQ
from typing import TYPE_CHECKING, cast

from netserver.backlog import Backlog
from netwire import LocalError, Message

if TYPE_CHECKING:
    from netserver.shell import Shell
    from netserver.slow_reader import SlowReader


class Stall:
    """One stall of one connection, from the first write that waits to the last one written.

    Owned by the thread of the connection's node, which it does not leave before it is over.

    Attributes:
        backlog: What waits; None before anything does.
    """

    __slots__ = ("_began", "_shell", "_timer", "_unsent", "backlog")

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._unsent = 0
        self.backlog: Backlog[Message] | None = None

    @property
    def _rules(self) -> SlowReader:
        return self._shell.slow_reader

    # ---------------------------------------------------------------- what waits

    def keep(self, message: Message, size: int, key: Hashable) -> bool:
        """Have a message wait, or what the policy says; False when it was not taken."""
        now = self._shell.node.clock()
        backlog = self._made()
        first = not backlog.size
        if backlog.offer(message, size, now, key):
            if first and backlog.falls_due < math.inf:
                self._watch(now)
            return True
        if self._rules.policy == "close":
            if now > backlog.falls_due:
                self._say_too_old()
            else:
                limit = self._rules.limit
                self._evict(f"over {limit} bytes wait for a slow reader")
        return False

    def append(self, data: bytes) -> None:
        """Have bytes of the wire's wait that must be written, in their place."""
        self._made().append(data)

    def control(self, data: bytes, is_answer: bool) -> None:
        """Have a ping, or a pong, wait ahead of messages."""
        self._made().control(data, is_answer)

    def settle(self) -> None:
        """No more messages come, and the wire is about to close: encode those that wait."""
        if self.backlog is not None:
            self.backlog.settle(self._encoder())

    def forget(self) -> None:
        """Nothing but control is to be written after all."""
        if self.backlog is not None:
            self.backlog.forget()

    def take(self) -> bytes:
        """The next to write, about as much as the transport takes at a time."""
        backlog = self.backlog
        if not backlog:
            return b""
        shell = self._shell
        return backlog.take(shell.config.write_high_water, shell.node.clock(), self._encoder())

    def _made(self) -> Backlog[Message]:
        if self.backlog is None:
            shell, rules = self._shell, self._rules
            connection = shell.connection
            assert rules.limit is not None
            max_age = rules.age_limit(connection.required_latency)
            self.backlog = Backlog(rules.policy, rules.limit, max_age, connection._lose)
        return self.backlog

    def _encoder(self) -> Callable[[Message], bytes]:
        """What makes bytes of what waits: nothing, where it waits as bytes."""
        if self._shell.wire.encoding_key is None:
            return self._encode
        return cast("Callable[[Message], bytes]", _as_it_is)

    def _encode(self, message: Message) -> bytes:
        shell = self._shell
        try:
            return shell.wire.encode(message)
        except LocalError:
            return b""  # it has closed meanwhile: there is nobody left for it
        except Exception as error:  # a framing or transform that cannot carry it
            shell.ending.fail(error)
            return b""

    # ---------------------------------------------------------------- until when

    def begin(self) -> None:
        """The transport is over its mark, again perhaps."""
        self._began = now = self._shell.node.clock()
        if self._rules.policy != "close":
            self._unsent = self._left()
        self._watch(now)

    def end(self) -> None:
        """The transport is below its mark, or gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, now: float) -> None:
        """Look again when something falls due."""
        self.end()
        due = self._began + self._shell.config.write_timeout
        if self.backlog is not None:
            due = min(due, self.backlog.falls_due)
        self._timer = self._shell.node.loop.call_later(max(0.0, due - now), self._look)

    def _look(self) -> None:
        self._timer = None
        shell = self._shell
        now = shell.node.clock()
        patience = shell.config.write_timeout
        if now >= self._began + patience:
            left = self._left()
            if self._rules.policy == "close" or left >= self._unsent:
                shell.ending.cut(1008, f"the peer has not read for {patience:g} s")
                return
            self._began, self._unsent = now, left
        if self.backlog is not None and now >= self.backlog.falls_due:
            self._say_too_old()
        self._watch(now)

    def _left(self) -> int:
        """What the peer has not acknowledged, in the transport and in the system, bytes."""
        transport = self._shell.transport
        if transport is None:
            return 0
        left = transport.get_write_buffer_size()
        try:
            answer = ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, bytes(4))
        except OSError:
            return left  # a system that does not tell
        return left + int(unpack("i", answer)[0])

    def _say_too_old(self) -> None:
        age = self._rules.age_limit(self._shell.connection.required_latency)
        self._evict(f"what waits for a slow reader is over {age:g} s old")

    def _evict(self, reason: str) -> None:
        self._shell.ending.evict(self._rules.close_code, reason)


def _as_it_is(message: Message) -> Message:
    return message
