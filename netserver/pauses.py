"""Why a connection is not read at the moment."""

from __future__ import annotations

from enum import IntFlag


class Pause(IntFlag):
    """Reasons; a connection is read while there is none."""

    ADMISSION = 1  # on_connect has not answered
    HANDLER = 2  # its handler has enough to do
    WRITING = 4  # it does not read what we send
    MOVING = 8  # it is about to leave this node
    TURN = 16  # it had its turn, and the others are due
    ARRIVING = 32  # what came before it was here has not been told yet
