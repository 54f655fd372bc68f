"""Ending on SIGINT and SIGTERM: gently on the first, at once on the second."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_on_signals(stop: Callable[[], object]) -> Iterator[None]:
    """While inside, the first signal calls ``stop``, and the system's own action takes the second.

    ``stop`` interrupts the main thread wherever it is, so it must not take a lock which that may
    hold.

    Outside the main thread, where Python handles no signals, it does nothing. Handlers that were
    there before are put back at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        stop()

    before = {number: signal.signal(number, first) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
