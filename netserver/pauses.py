"""Why a connection is not read at the moment."""

from __future__ import annotations

from typing import Final


class Pause:
    """Reasons, as bits of a number; a connection is read while it is 0.

    Bare numbers, because every operation on a flag of `enum` is three calls, and a connection that
    comes and goes takes a dozen of them.
    """

    ADMISSION: Final = 1  # on_connect has not answered
    HANDLER: Final = 2  # its handler has enough to do
    WRITING: Final = 4  # it does not read what we send
    MOVING: Final = 8  # it is about to leave this node
    TURN: Final = 16  # it had its turn, and the others are due
    ARRIVING: Final = 32  # what came before it was here has not been told yet
