"""What holds of every wire, whatever arrives."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from io import BytesIO
from sys import getsizeof
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TypeAlias

from fuzz.errors import demand, demand_equal
from netwire import (
    Closed,
    ConnectionLost,
    Event,
    Failed,
    LocalError,
    Message,
    More,
    Opened,
    Ping,
    PlainRequest,
    Pong,
    RemoteError,
    Requested,
    State,
    Wire,
)

Outcome: TypeAlias = bytes | str | tuple[object, ...]
"""An event as a value that compares, without its reply."""

_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)


def outcome(event: Event) -> Outcome:
    match event:
        case bytes() | str():
            return event
        case Ping(payload) | Pong(payload):
            return (type(event).__name__, payload)
        case Closed(code, reason):
            return ("Closed", code, reason)
        case Failed(error):
            return ("Failed", error.close_code, type(error).__name__, str(error))
        case Opened(response):
            return ("Opened", response)
        case Requested(request) | PlainRequest(request):
            return (type(event).__name__, request)
        case _:
            return (type(event).__name__,)


def feed(wire: Wire, pieces: Iterable[bytes]) -> list[Event]:
    """Everything that a wire reports of a stream; what no wire may do is an error.

    Raises:
        Broken: A promise that holds of every wire does not.
    """
    events: list[Event] = []
    closing = wire.state is State.CLOSING
    for piece in pieces:
        found = wire.receive(piece)
        while found and isinstance(found[-1], More):
            found[-1:] = wire.receive(b"")
        demand(not (ended(events) and found), "nothing follows the last event", events, found)
        events += found
    for event in events[:-1]:
        demand(not isinstance(event, Closed | Failed), "the end is the last event", events)
    for event in events:
        if isinstance(event, Failed):
            demand(isinstance(event.error, RemoteError), "a fault is one of ours", event)
        demand(not closing or ended([event]), "who closes hears of the end alone", events)
    demand_equal(wire.state is State.CLOSED, ended(events), f"CLOSED after the end: {events}")
    return events


def ended(events: list[Event]) -> bool:
    """Whether the last event is the last of its wire."""
    return bool(events) and isinstance(events[-1], Closed | Failed)


def check_end(wire: Wire, stream: bytes) -> list[Event]:
    """End the stream of a wire that has read one, and see that it is quiet then."""
    was_closed = wire.state is State.CLOSED
    events = wire.receive_eof()
    demand(len(events) <= 1, "one event ends a wire", events)
    demand(not (was_closed and events), "a closed wire has nothing to tell", events)
    for event in events:
        match event:
            case Closed(reply=b"") | Failed(ConnectionLost(), b""):
                pass
            case _:
                demand(False, "an end of stream closes or cuts, and nobody is answered", event)
    if events or was_closed:
        demand_equal(wire.state, State.CLOSED, "the end closes")
        demand_equal(wire.receive(stream), [], "a closed wire hears nothing")
        demand_equal(wire.receive_eof(), [], "a closed wire has no other end")
        demand_equal(wire.close(), b"", "a closed wire has nothing to close")
        wire.conclude()  # until then it answers what came before its end
        try:
            wire.encode(b"x")
        except LocalError:
            pass
        else:
            demand(False, "a closed wire sends nothing")
    return events


def check_messages(
    events: list[Event], limit: int, sender: Callable[[], Wire], receiver: Callable[[], Wire]
) -> None:
    """See that messages keep the limit, and are the same when they are sent on.

    Args:
        events: What was received.
        limit: Bytes of a message.
        sender: Makes a wire that can send them.
        receiver: Makes one of the other role, which receives that.
    """
    messages: list[Message] = [event for event in events if isinstance(event, bytes | str)]
    for message in messages:
        size = len(message.encode() if isinstance(message, str) else message)
        demand(size <= limit, f"no message is over the limit of {limit} bytes", size)
    if messages:
        sending = sender()
        stream = b"".join([sending.encode(message) for message in messages])
        demand_equal(feed(receiver(), [stream]), messages, "messages sent on arrive the same")


def check_memory(wire: Wire, arrived: int, limit: int) -> None:
    """See that a wire keeps no more than it may of what arrived.

    Args:
        wire: A wire that has read a stream.
        arrived: The bytes of the stream.
        limit: The most that it may have to keep, bytes.
    """
    size, objects = held(wire)
    allowed = 2048 + 3 * min(arrived, limit)
    demand(size <= allowed, f"a wire holds at most {allowed} bytes", size, wire)
    demand(objects <= 500, "a wire holds few objects, however many pieces came", objects, wire)


def held(root: object) -> tuple[int, int]:
    """The bytes of all buffers that an object keeps alive, and how many objects it keeps.

    It looks at the objects themselves, so that no buffer of a library below us goes unseen.
    """
    seen = {id(root)}
    waiting = [root]
    size = 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, bytes | bytearray | str | BytesIO):
            size += getsizeof(item)
        for part in gc.get_referents(item):
            if id(part) not in seen and not isinstance(part, _SHARED):
                seen.add(id(part))
                waiting.append(part)
    return size, len(seen)
