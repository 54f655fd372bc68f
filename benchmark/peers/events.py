"""What happened on our server and when, kept for whoever draws it."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Any

from attrs import define, field, fields_dict

from foreman import Node, Worker
from foreman.events import Event, Missed, Moved, Refused, Retired, Spawned, Stuck

KEPT = 10_000  # events
TEXT = 200  # characters of a reason or a worker's name that are kept

_KINDS = (Spawned, Moved, Retired, Stuck, Missed, Refused)


@define(eq=False)
class EventLog:
    """The last events of a Foreman. Any thread may note and read them.

    Attributes:
        started: When the log began, `time.monotonic`, which is the same in every process of a
            Linux machine.
    """

    started: float = field(factory=monotonic, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)  # guards the next one
    _events: deque[dict[str, Any]] = field(factory=lambda: deque(maxlen=KEPT), init=False)

    def note(self, event: Event) -> None:
        """Keep an event, unless it is of a kind that only says that all is well."""
        if isinstance(event, _KINDS):
            found: dict[str, Any] = {
                "at": round(monotonic() - self.started, 6),
                "kind": type(event).__name__.lower(),
            }
            for name in fields_dict(type(event)):
                found[name] = _plain(getattr(event, name))
            with self._lock:
                self._events.append(found)

    def events(self) -> list[dict[str, Any]]:
        """The last `KEPT` events, oldest first.

        Each has ``at``, seconds since `started`, ``kind``, and the fields of its class in
        `foreman.events`, with nodes and workers by name.
        """
        with self._lock:
            return list(self._events)


def _plain(value: object) -> object:
    """What JSON can hold of it."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Node):
        return value.name
    return (repr(value) if isinstance(value, Worker) else str(value))[:TEXT]
