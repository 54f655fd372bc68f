"""Targets: the framings of a byte stream."""

from __future__ import annotations

from fuzz.errors import demand, demand_equal
from fuzz.inputs import Input
from fuzz.invariants import check_end, check_memory, check_messages, ended, feed, outcome
from fuzz.reference import REFERENCES
from netwire import FRAMINGS, Failed


def framing(name: str, data: bytes) -> None:
    """A stream in one of the framings with marks, beside the plain way to read it."""
    given = Input.parse(data)
    limit = given.limits.message
    messages, code, begun = REFERENCES[name](given.stream, limit)
    for pieces in given.splits():
        wire = FRAMINGS[name](given.limits)
        events = feed(wire, pieces)
        seen = [outcome(event) for event in events if not isinstance(event, Failed)]
        demand_equal(seen, messages, f"{name}: the messages of the stream")
        failures = [event.error.close_code for event in events if isinstance(event, Failed)]
        demand_equal(failures, [code] * (code is not None), f"{name}: how the stream fails")
        check_memory(wire, len(given.stream), limit + 16)
        cut = [isinstance(event, Failed) for event in check_end(wire, given.stream)]
        demand_equal(cut, [begun] * (code is None), f"{name}: whether the end cuts a message")
    check_messages(
        # A line with a CR in it may arrive, but may not be sent.
        [each for each in messages if name != "lines" or b"\r" not in each],
        limit,
        FRAMINGS[name],
        FRAMINGS[name],
    )


def raw(data: bytes) -> None:
    """A stream without marks: every byte arrives, in messages within the limit."""
    given = Input.parse(data)
    limit = given.limits.message
    for pieces in given.splits():
        wire = FRAMINGS["raw"](given.limits)
        events = feed(wire, pieces)
        demand(not ended(events), "raw bytes cannot be wrong")
        messages = [event for event in events if isinstance(event, bytes)]
        demand(all(0 < len(message) <= limit for message in messages), "no message over the limit")
        demand_equal(b"".join(messages), given.stream, "every byte arrives")
        check_memory(wire, 0, limit)
        check_end(wire, given.stream)
