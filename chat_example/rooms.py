"""A room as the server keeps it: a group with a history, whose every line tells its position."""

from __future__ import annotations

from attrs import evolve

from chat_example.protocol import Did, History, Said, decode, encode
from netserver import Entry, GroupRules, Position, Recovery
from netserver import History as Kept

_PREFIX = "room/"

# The groups that are rooms, as in `fnmatch`.
ROOMS = f"{_PREFIX}*"

# What is kept of each: what a person who comes may want to read, and no more than a day old.
KEPT = Kept(count=100, size=256 * 1024, age=24 * 3600.0)

_LINES: dict[str, type[Said]] = {"said": Said, "did": Did}


def group_of(room: str) -> str:
    """The group that is a room."""
    return _PREFIX + room


def begin_history(recovery: Recovery) -> History:
    """What somebody who is in a room now is told before what was said there."""
    first = recovery.entries[0].position if recovery.entries else None
    begins = recovery.position if first is None else Position(first.epoch, first.offset - 1)
    return History(
        room=recovery.group.removeprefix(_PREFIX),
        recovered=recovery.recovered,
        position=_write_position(begins),
    )


def _stamp(entry: Entry) -> str:
    """A line as people are told it, with where and when it was said."""
    position = _write_position(entry.position)
    line = decode(entry.message, _LINES)
    return encode(evolve(line, id=entry.id, at=entry.at, position=position))


def _write_position(position: Position) -> str:
    return f"{position.offset}@{position.epoch}"


def read_position(since: str) -> Position | None:
    """How far somebody has read, as `check_since` let it through; None for those who are new."""
    offset, _, epoch = since.partition("@")
    return Position(epoch, int(offset)) if epoch else None


RULES = GroupRules(history=KEPT, stamp=_stamp)
