"""The heartbeat of a connection: whether its peer is still there, and does not stall us.

A pulse is looked at when its node makes its rounds (`rounds.py`), never when a message comes: what
an open connection is checked for costs the way of a message nothing.
"""

from __future__ import annotations

import random
from math import inf
from typing import TYPE_CHECKING

from netserver.keepalive import has_gone, was_heard
from netserver.pauses import Pause
from netserver.rounds import Rounds
from netwire import State

if TYPE_CHECKING:
    from netserver.shell import Shell
    from netserver.wheel import Slot

# Looks at an unfinished message in the time it may take: how late that one has begun is noticed.
LOOKS = 4

# How much of a new round trip goes into the smoothed one (RFC 6298, section 2).
GAIN = 1 / 8


class Pulse:
    """What is remembered between two looks at an open connection. Owned by its node's thread.

    Attributes:
        round_trip: The latest round trip of a ping of ours, seconds; None before the first.
        smoothed: The same, smoothed as TCP does.
    """

    __slots__ = (
        "_at",  # when to ping next, or until when the ping under way is waited for
        "_excused",
        "_measured",
        "_payload",
        "_pinged",
        "_rounds",
        "_shell",
        "_slot",
        "round_trip",
        "smoothed",
    )

    def __init__(self, shell: Shell) -> None:
        interval = shell.config.ping_interval
        self._shell: Shell | None = shell
        self._rounds: Rounds | None = None
        self._slot: Slot[Pulse] | None = None
        # So that those that came in one burst are spread from the first ping on.
        self._at = inf
        if interval is not None:
            self._at = shell.node.clock() + interval * random.uniform(0.5, 1.0)
        self._payload: bytes | None = None  # of the ping under way
        self._pinged = 0.0  # when the latest was sent
        self._measured = False  # whether how long its answer takes is told
        self._excused = False
        self.round_trip: float | None = None
        self.smoothed: float | None = None
        self.arrive()

    # ---------------------------------------------------------------- where it is

    def arrive(self) -> None:
        """It is on its shell's node from now on."""
        shell = self._shell
        if shell is None or self._rounds is not None:
            return
        now = shell.node.clock()
        if (at := self._next(now)) < inf:
            everywhere = shell.connection.server.rounds
            rounds = everywhere.get(shell.node)
            if rounds is None:
                rounds = Rounds(everywhere, shell.node, shell.config)
            self._rounds = rounds
            self._slot = rounds.add(self, at)

    def leave(self) -> None:
        """It is on no node until it arrives."""
        rounds, slot = self._rounds, self._slot
        self._rounds = self._slot = None
        if rounds is not None and slot is not None:
            rounds.remove(self, slot)

    def end(self) -> None:
        """The connection has ended; what was measured stays."""
        self.leave()
        self._shell = self._payload = None

    # ---------------------------------------------------------------- pings

    def answered(self, payload: bytes) -> None:
        """A pong came. One that answers no ping of ours may be the user's, or unasked."""
        shell = self._shell
        if shell is None or payload != self._payload:
            return
        self._payload = None
        now = shell.node.clock()
        took = now - self._pinged
        if self._measured:
            self.round_trip = took
            smoothed = self.smoothed
            self.smoothed = took if smoothed is None else smoothed + GAIN * (took - smoothed)
        interval = shell.config.ping_interval
        assert interval is not None
        self._at = max(now, self._pinged + interval)
        shell.connection.holds.overlook()

    def pinged(self) -> None:
        """The peer's ping was answered. One between two looks is its heartbeat, and no work."""
        if self._shell is not None and not self._excused:
            self._excused = True
            self._shell.connection.holds.overlook()

    # ---------------------------------------------------------------- looking

    def beat(self, now: float) -> None:
        """Look at the connection, and have it looked at again."""
        shell, rounds = self._shell, self._rounds
        assert shell is not None
        assert rounds is not None
        self._rounds = self._slot = None
        self._excused = False
        if shell.state is not State.OPEN or shell.ending.failed:
            return  # its end has a deadline of its own
        if (wrong := self._look(shell, now)) is not None:
            shell.node.run(shell.connection, shell.ending.cut, *wrong)
            return
        if self._is_idle(shell, now):
            reason = f"no message for {shell.config.idle_timeout:g} s"
            shell.node.run(shell.connection, shell.ending.close, 1001, reason)
            return
        self._rounds = rounds
        self._slot = rounds.add(self, self._next(now))

    def failed(self, error: Exception) -> None:
        """Looking at it raised."""
        if (shell := self._shell) is not None:
            shell.node.run(shell.connection, shell.ending.fail, error)

    def _next(self, now: float) -> float:
        """When to look again; infinity when there is nothing to look for."""
        shell = self._shell
        assert shell is not None
        config = shell.config
        at = inf
        if shell.can_ping:
            at = self._at
            if self._payload is not None and config.ping_interval is not None:
                # When the next ping is due if the one under way has been answered by then.
                again = self._pinged + config.ping_interval
                at = min(at, again) if again > now else at
        if config.message_timeout is not None:
            began = shell.wire.begun(now)
            due = inf if began is None else began + config.message_timeout
            at = min(at, now + config.message_timeout / LOOKS, due)
        return max(at, now)

    def _is_idle(self, shell: Shell, now: float) -> bool:
        """Whether it has been without a message for too long; here, nobody asks (`hearing.py`)."""
        return False

    def _look(self, shell: Shell, now: float) -> tuple[int, str] | None:
        """See what is due; the close code and the reason when the connection is to be cut."""
        config = shell.config
        paused = shell.pauses
        if paused and has_gone(shell.transport):
            return 1006, "the connection was lost while it was not read"
        unfinished = shell.wire.begun(now, anew=bool(paused))
        limit = config.message_timeout
        if unfinished is not None and limit is not None and now - unfinished >= limit:
            return 1008, f"a message was not complete after {limit:g} s"
        if shell.can_ping and now >= self._at:
            if self._payload is None or config.ping_timeout is None:
                self._ping(shell, now)
            elif paused:
                # We do not read, so its answer cannot have come: that is not the peer's fault.
                self._at = now + config.ping_timeout
                self._measured = False
            elif (limit is not None and unfinished is not None) or was_heard(
                shell.transport, now - self._pinged
            ):
                self._payload = None  # it lives, and says something else than pongs
                self._ping(shell, now)
            else:
                return 1006, f"no answer to a ping within {config.ping_timeout:g} s"
        return None

    def _ping(self, shell: Shell, now: float) -> None:
        config = shell.config
        interval = config.ping_interval
        assert interval is not None
        if shell.outflow.paused or shell.pauses & Pause.MOVING:
            # Something else than a ping tells of a peer that takes nothing.
            self._at = now + interval / 4
            return
        payload = random.randbytes(8)
        shell.outflow.ping(payload)
        self._at = now + (interval if config.ping_timeout is None else config.ping_timeout)
        self._payload = payload
        self._pinged = now
        self._measured = True
