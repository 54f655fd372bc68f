"""What ``serve`` tells whoever started it: where the chat is, and whether it is one with others."""

from __future__ import annotations

from threading import Lock
from typing import TextIO

from foreman import Worker
from netserver.events import BackplaneDown, BackplaneUp, Event

MEANWHILE = (
    "Meanwhile people on this server reach each other only, "
    "and over nats:// what they say in rooms waits."
)


class Announcer:
    """Prints how the server stands to the others: at its opening, and whenever that changes.

    Any thread; what is printed last is how it is.

    Args:
        output: Where to.
    """

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._lock = Lock()  # guards all below, and the order of what is printed
        self._is_open = False
        self._link: BackplaneUp | BackplaneDown | None = None  # None: it was never up

    def on_event(self, worker: Worker, event: Event) -> None:
        """For the server's `on_event`."""
        if isinstance(event, BackplaneUp | BackplaneDown):
            with self._lock:
                self._link = event
                if self._is_open:
                    self._print_link()

    def open(self, lines: list[str], *, clustered: bool) -> None:
        """The server has started.

        Args:
            lines: Where the chat is.
            clustered: Whether there are others.
        """
        with self._lock:
            self._is_open = True
            print(*lines, sep="\n", file=self._output, flush=True)
            if clustered:
                self._print_link()

    def _print_link(self) -> None:
        if isinstance(self._link, BackplaneUp):
            line = f"In the cluster: {self._link.reason}."
        else:
            why = "" if self._link is None else f" ({self._link.reason})"
            line = f"Not in the cluster{why}, but trying. {MEANWHILE}"
        print(line, file=self._output, flush=True)
