"""The classic shared thread pool: one loop reads, a pool of threads handles every connection.

It is what servers on I/O completion ports do. A connection's messages are handled one at a time
and in their order, on whichever thread is free; each reply is handed back to the loop, which
writes it. The interpreter's switch interval is Python's own unless ``--switch-interval`` is given:
at 5 ms a handler that computes keeps the loop and the other threads waiting so long at each of a
message's three changes of thread.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmark.peers.conversation import Conversation, serve
from benchmark.peers.program import Options, positive
from benchmark.peers.work import WORK, Work

# Twice what the makers of completion ports recommend, two a processor, so that some may block;
# many more would only take turns at the interpreter lock.
DEFAULT_THREADS = 4 * (os.cpu_count() or 1)
INBOX = 256 * 1024  # bytes that may wait for a thread before the peer is not read any more

_TOO_MUCH = "enough is waiting for a thread"


class Echo(Conversation):
    """Has its messages handled on the pool, one at a time.

    All of its state belongs to the loop's thread; what goes to the pool and back is one message.
    """

    def __init__(self, work: Work | None, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self._work = work
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[bytes] = deque()
        self._waiting = 0  # bytes in the inbox
        self._busy = False

    def take(self, messages: Sequence[bytes]) -> None:
        self._inbox.extend(messages)
        self._waiting += sum(map(len, messages))
        if self._waiting > INBOX:
            self.stop_reading(_TOO_MUCH)
        if not self._busy:
            self._hand_out()

    def _hand_out(self) -> None:
        self._busy = True
        message = self._inbox.popleft()
        self._waiting -= len(message)
        self._pool.submit(self._handle, message)

    def _handle(self, message: bytes) -> None:
        """On a thread of the pool."""
        if self._work is not None and message.startswith(WORK):
            self._work.carry_out()
        self._loop.call_soon_threadsafe(self._handled, message)

    def _handled(self, reply: bytes) -> None:
        self.reply([reply])
        if self._waiting <= INBOX:
            self.go_on_reading(_TOO_MUCH)
        if self._inbox:
            self._hand_out()
        else:
            self._busy = False

    def connection_lost(self, _error: Exception | None) -> None:
        self._inbox.clear()
        self._waiting = 0


def main() -> None:
    parser = argparse.ArgumentParser()
    Work.add_options(parser)
    parser.add_argument("--threads", type=positive, default=DEFAULT_THREADS, help="in the pool")
    parser.add_argument(
        "--switch-interval", type=float, default=sys.getswitchinterval(), help="seconds"
    )
    _, found = Options.parse(parser, ("tcp",))
    sys.setswitchinterval(found.switch_interval)
    work = Work.chosen(found)
    pool = ThreadPoolExecutor(found.threads, "pool")
    serve(lambda: Echo(work, pool))


if __name__ == "__main__":
    main()
