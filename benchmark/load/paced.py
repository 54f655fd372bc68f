"""The open loop as a process: a timetable on standard input, as `benchmark.load.talk` says."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import asdict, evolve

from benchmark.load.connect import open_all
from benchmark.load.native_pacing import NativePacer
from benchmark.load.pacing import Pacer, SelectingPacer
from benchmark.load.run import SLICE
from benchmark.load.stream import Stream, build_stream
from benchmark.load.talk import answer
from benchmark.load.timetable import Attendance, Line, Timetable
from benchmark.usage import Clocks

LEAD = 20_000_000  # nanoseconds from the word to begin to the start, so that it is not missed


def run(
    timetable: Timetable,
    progress: Callable[[float, int], None],
    connected: Callable[[], None] = lambda: None,
) -> Attendance:
    """Keep a timetable, and write the answers.

    Args:
        timetable: What to do.
        progress: Called ten times a second with the seconds since the start and the replies so
            far.
        connected: Called when every connection is open; the load begins when it returns.

    Raises:
        LoadError: The load could not be brought to its end.
    """
    due = timetable.read_due()
    streams, firsts = _streams(timetable)
    urls = [line.url for line in timetable.lines]
    channels = open_all(urls, timetable.certificate, timetable.library).channels
    connected()
    start = time.monotonic_ns() + LEAD
    pacer: Pacer
    if timetable.library is None:
        pacer = SelectingPacer(channels, streams, firsts, due, start)
    else:
        pacer = NativePacer(timetable.library, channels, streams, firsts, due, start)
    end = start + round(timetable.seconds * 1e9)
    try:
        before = Clocks.read(timetable.server_pid)
        while (now := time.monotonic_ns()) < end and pacer.answered < len(pacer.due):
            pacer.run(min(now + SLICE, end))
            progress((time.monotonic_ns() - start) / 1e9, pacer.answered)
        elapsed = (time.monotonic_ns() - start) / 1e9
        used = Clocks.read(timetable.server_pid).since(before, elapsed)
    finally:
        pacer.close()
    Path(timetable.answers).write_bytes(pacer.taken.tobytes() + pacer.heard.tobytes())
    return Attendance(
        client=pacer.name,
        precedence=_has_precedence(),
        started=start / 1e9,
        elapsed=elapsed,
        client_cpu=used.client,
        server_cpu=used.server,
        other_cpu=used.other,
    )


def _take_precedence() -> None:
    """Run before everything else on this machine that is not in real time, where that is allowed.

    This process needs a few percent of one CPU, but at the very time: otherwise it waits behind
    the servers that it measures, for a core that they compute on. A nice value does not help,
    because Linux weighs it within a session only (sched_autogroup).
    """
    with suppress(AttributeError, OSError):  # another system than Linux, or no right to
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def _has_precedence() -> bool:
    return hasattr(os, "SCHED_FIFO") and os.sched_getscheduler(0) == os.SCHED_FIFO


def _streams(timetable: Timetable) -> tuple[list[Stream], list[int]]:
    """What each line sends and where it begins: lines share a ring if they send alike."""
    shared: dict[tuple[str, str], Stream] = {}
    streams, firsts = [], []
    for number, line in enumerate(timetable.lines):
        if line.exception is not None:
            streams.append(_stream_of_its_own(timetable, line, *line.exception))
            firsts.append(0)
            continue
        replies = line.opening if line.replies is None else line.replies
        kind = (line.opening, replies)
        if kind not in shared:
            stream = build_stream(timetable.transport, timetable.size, opening=line.opening)
            if replies != line.opening:
                other = build_stream(timetable.transport, timetable.size, opening=replies)
                stream = evolve(stream, reply=other.reply)
            shared[kind] = stream
        streams.append(shared[kind])
        firsts.append(number if line.first is None else line.first)
    return streams, firsts


def _stream_of_its_own(timetable: Timetable, line: Line, number: int, opening: str) -> Stream:
    """A ring as long as the line, for no message but that one to be another."""
    return build_stream(
        timetable.transport,
        timetable.size,
        frames=line.messages,
        opening=line.opening,
        exceptions={number: opening},
    )


def main() -> int:
    """Keep the timetable that standard input holds; the exit status is 1 when that failed."""

    def carry_out(
        plan: Any, progress: Callable[[float, int], None], connected: Callable[[], None]
    ) -> dict[str, Any]:
        return asdict(run(Timetable(**plan), progress, connected))

    _take_precedence()
    gc.disable()  # nothing here is garbage in cycles, and a collection would make it late
    return answer(carry_out)


if __name__ == "__main__":
    sys.exit(main())
