"""A shell that notes when messages come, for the deadlines that need it; others do not pay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netserver.heartbeat import Pulse
from netserver.intake import Intake
from netserver.shell import Shell
from netwire import Wire
from netwire.tls import TlsEngine

if TYPE_CHECKING:
    import socket

    from netserver.config import ServerConfig
    from netserver.connection import Connection


class HearingPulse(Pulse):
    """Knows when messages came, too.

    Attributes:
        heard: When the last message came, by the node's clock, or the connection opened.
        has_spoken: Whether a message came.
    """

    __slots__ = ("_opened", "has_spoken", "heard")

    def __init__(self, shell: Shell) -> None:
        self._opened = self.heard = shell.node.clock()
        self.has_spoken = False
        super().__init__(shell)

    def _next(self, now: float) -> float:
        shell = self._shell
        assert shell is not None
        at, config = super()._next(now), shell.config
        if config.idle_timeout is not None:
            at = min(at, self.heard + config.idle_timeout)
        if config.first_message_timeout is not None and self._awaits_first(shell):
            at = min(at, self._opened + config.first_message_timeout)
        return max(at, now)

    def _look(self, shell: Shell, now: float) -> tuple[int, str] | None:
        wrong = super()._look(shell, now)
        first = shell.config.first_message_timeout
        if wrong is None and first is not None and now >= self._opened + first:
            if self._awaits_first(shell) and not shell.pauses:
                return 1008, f"no message within {first:g} s"
            self._opened = now
        return wrong

    def _is_idle(self, shell: Shell, now: float) -> bool:
        idle = shell.config.idle_timeout
        if idle is None or now < self.heard + idle:
            return False
        if shell.serial.busy or shell.pauses:
            self.heard = now  # it is our handler that is slow
            return False
        return True

    def _awaits_first(self, shell: Shell) -> bool:
        return not self.has_spoken and not shell.can_ping


class HearingShell(Shell):
    """Made where `ServerConfig.idle_timeout` or ``first_message_timeout`` is given."""

    __slots__ = ()

    make_pulse = HearingPulse

    def __init__(
        self,
        connection: Connection,
        wire: Wire,
        tls: TlsEngine | None,
        sock: socket.socket,
        config: ServerConfig,
    ) -> None:
        super().__init__(connection, wire, tls, sock, config)
        self.intake = HearingIntake(self)

    def data_received(self, data: bytes) -> None:
        intake = self.intake
        assert isinstance(intake, HearingIntake)
        intake.silent = False
        super().data_received(data)
        if not intake.silent:
            intake.heard()


class HearingIntake(Intake):
    """Tells reads that bring messages from those that bring pongs, or a piece of something."""

    __slots__ = ("silent",)

    def __init__(self, shell: Shell) -> None:
        super().__init__(shell)
        self.silent = False

    def hand_out(self, happened: list[Any]) -> None:
        if any(isinstance(event, bytes | str) for event in happened):
            self.heard()
        else:
            self.silent = True
        super().hand_out(happened)

    def heard(self) -> None:
        """A message came."""
        pulse = self._shell.pulse
        if isinstance(pulse, HearingPulse):
            pulse.heard = self._shell.node.clock()
            pulse.has_spoken = True
