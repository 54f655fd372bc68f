"""A shell that notes when messages come, for the deadlines that need it; others do not pay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netserver.intake import Intake
from netserver.shell import Shell
from netwire import Wire
from netwire.tls import TlsEngine

if TYPE_CHECKING:
    import socket

    from netserver.config import ServerConfig
    from netserver.connection import Connection


class HearingShell(Shell):
    """Made where `ServerConfig.idle_timeout` or ``first_message_timeout`` is given."""

    __slots__ = ()

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
        if pulse is not None:
            pulse.heard = self._shell.node.clock()
            pulse.has_spoken = True
