"""The frames between peers: one part of a ZeroMQ message each.

A frame is a byte for the version, a byte for its kind, and what the kind has. Whole numbers are
big-endian. A *link* leads from a subscriber's DEALER to a publisher's ROUTER; on it

    the subscriber sends    HELLO, then its CHANGEs, and BEAT from time to time
    the publisher sends     WELCOME, ACK for each CHANGE (or RESYNC), DATA, PEERS, PULSE
    either sends            BYE

What comes from a peer is checked here: each decoder raises `Malformed` and nothing else.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum

from attrs import frozen

from netserver.backplane.base import LONGEST_SUBJECT, check_subject
from netserver.backplane.errors import SubjectError
from netserver.backplane.url import Address

VERSION = 1

# A frame of many messages, or of many subjects, is ended at this size, bytes: small enough that it
# neither holds up a heartbeat behind it nor keeps the reader's loop for more than about 2 ms.
CHUNK = 60 * 1024
SUBJECTS_CHUNK = 16 * 1024

# What a publisher reads of one frame, bytes: none of its kinds is larger than a chunk and a bit.
LARGEST_REQUEST = 64 * 1024

# A record of DATA is this much longer than its payload at most.
RECORD_EXTRA = 5 + LONGEST_SUBJECT

# The most peers that are told of in one frame, and known at all.
MOST_PEERS = 256

ID_SIZE = 16
KEY_SIZE = 32
NO_KEY = bytes(KEY_SIZE)

_NUMBER = struct.Struct("!Q")
_TWO_NUMBERS = struct.Struct("!QQ")
_CHANGE = struct.Struct("!QB")
_ENTRY = struct.Struct("!HB")
_RECORD = struct.Struct("!BI")

# A name or an IP address, at most as long as a name can be.
HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}")


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    WELCOME = 2
    PEERS = 3
    CHANGE = 4
    ACK = 5
    RESYNC = 6
    BEAT = 7
    PULSE = 8
    DATA = 9
    BYE = 10


class Action(IntEnum):
    """What a CHANGE does with its subjects. BEGIN to END tell a whole set anew."""

    ADD = 1
    REMOVE = 2
    BEGIN = 3
    EXTEND = 4
    END = 5


class Farewell(IntEnum):
    """Why a peer says BYE."""

    LEAVING = 1
    # There is no such link any more: begin again.
    STRANGER = 2
    # It has as many peers, or this one has as many subjects, as it takes.
    FULL = 3


class Malformed(ValueError):
    """A frame that is none."""


@frozen
class PeerInfo:
    """How a peer is reached.

    Args:
        address: Where.
        key: Its public CURVE key; `NO_KEY` without CURVE.
    """

    address: Address
    key: bytes = NO_KEY


@frozen
class Introduction:
    """Who is at an end of a link, and what other peers it has a link to.

    Args:
        id: Made anew at each start, 16 bytes.
        info: How it is reached.
        others: The others.
    """

    id: bytes
    info: PeerInfo
    others: tuple[PeerInfo, ...] = ()


@frozen
class Change:
    """One step of what a peer subscribes to.

    Args:
        number: One more than that of the step before, on this link.
        action: What to do.
        subjects: With which.
    """

    number: int
    action: Action
    subjects: tuple[str, ...]


def _frame(kind: Kind, *body: bytes) -> bytes:
    return b"".join((bytes((VERSION, kind)), *body))


def kind_of(frame: bytes) -> Kind:
    """What a frame is.

    Raises:
        Malformed: It is of another version or of no kind.
    """
    if len(frame) < 2 or frame[0] != VERSION:
        raise Malformed(f"a frame of no version {VERSION}")
    try:
        return Kind(frame[1])
    except ValueError:
        raise Malformed(f"a frame of no kind: {frame[1]}") from None


def introduction(kind: Kind, who: Introduction) -> bytes:
    """HELLO or WELCOME."""
    return _frame(kind, who.id, _entries((who.info, *who.others)))


def read_introduction(frame: bytes) -> Introduction:
    infos = _read_entries(frame, 2 + ID_SIZE)
    if not infos:
        raise Malformed("an introduction without an address")
    return Introduction(frame[2 : 2 + ID_SIZE], infos[0], tuple(infos[1:]))


def peers(infos: Iterable[PeerInfo]) -> bytes:
    """PEERS."""
    return _frame(Kind.PEERS, _entries(infos))


def read_peers(frame: bytes) -> list[PeerInfo]:
    return _read_entries(frame, 2)


def _entries(infos: Iterable[PeerInfo]) -> bytes:
    parts: list[bytes] = []
    for info in infos:
        host = info.address.host.encode("ascii")
        parts += [info.key, _ENTRY.pack(info.address.port, len(host)), host]
    return b"".join(parts)


def _read_entries(frame: bytes, at: int) -> list[PeerInfo]:
    infos: list[PeerInfo] = []
    while at < len(frame):
        key, at = frame[at : at + KEY_SIZE], at + KEY_SIZE
        if at + _ENTRY.size > len(frame) or len(infos) > MOST_PEERS:
            raise Malformed("addresses that are cut off, or too many")
        port, size = _ENTRY.unpack_from(frame, at)
        at += _ENTRY.size
        host = frame[at : at + size].decode("ascii", "replace")
        at += size
        if at > len(frame) or not port or not HOST.fullmatch(host):
            raise Malformed("an address that is none")
        infos.append(PeerInfo(Address(host, port), key))
    return infos


def change(number: int, action: Action, chunk: bytes) -> bytes:
    """CHANGE, with one of the chunks of `chunks`."""
    return _frame(Kind.CHANGE, _CHANGE.pack(number, action), chunk)


def chunks(subjects: Iterable[str]) -> Iterator[bytes]:
    """Subjects, in pieces for one CHANGE each; none for no subjects."""
    chunk: list[str] = []
    size = 0
    for subject in subjects:
        size += len(subject) + 1
        if size > SUBJECTS_CHUNK:
            yield "\n".join(chunk).encode("ascii")
            chunk, size = [], len(subject) + 1
        chunk.append(subject)
    if chunk:
        yield "\n".join(chunk).encode("ascii")


def read_change(frame: bytes) -> Change:
    try:
        number, action = _CHANGE.unpack_from(frame, 2)
        text = frame[2 + _CHANGE.size :].decode("ascii")
        subjects = tuple(map(check_subject, text.split("\n"))) if text else ()
        return Change(number, Action(action), subjects)
    except (struct.error, UnicodeDecodeError, SubjectError, ValueError) as error:
        raise Malformed(f"a change that is none: {error}") from None


def ack(number: int) -> bytes:
    """ACK: all up to this change is taken over."""
    return _frame(Kind.ACK, _NUMBER.pack(number))


def read_ack(frame: bytes) -> int:
    if len(frame) != 2 + _NUMBER.size:
        raise Malformed("an acknowledgement of no size")
    return int(_NUMBER.unpack_from(frame, 2)[0])


def beat(number: int, received: int) -> bytes:
    """BEAT: the last change sent, and the bytes received on this link so far."""
    return _frame(Kind.BEAT, _TWO_NUMBERS.pack(number, received))


def read_beat(frame: bytes) -> tuple[int, int]:
    if len(frame) != 2 + _TWO_NUMBERS.size:
        raise Malformed("a beat of no size")
    number, received = _TWO_NUMBERS.unpack_from(frame, 2)
    return number, received


RESYNC = _frame(Kind.RESYNC)
PULSE = _frame(Kind.PULSE)


def bye(farewell: Farewell) -> bytes:
    """BYE."""
    return _frame(Kind.BYE, bytes((farewell,)))


def read_bye(frame: bytes) -> Farewell:
    try:
        (farewell,) = frame[2:]
        return Farewell(farewell)
    except ValueError:
        raise Malformed("a farewell that is none") from None


DATA = _frame(Kind.DATA)


def record(subject: str, payload: bytes) -> bytes:
    """One message, of which a DATA frame has one or several."""
    return b"".join((_RECORD.pack(len(subject), len(payload)), subject.encode("ascii"), payload))


def read_data(frame: bytes) -> Iterator[tuple[str, bytes]]:
    """The messages of a DATA frame; those before something malformed are given out."""
    at, end = 2, len(frame)
    while at < end:
        start = at + 5
        if start > end:
            raise Malformed("a record that is cut off")
        size, length = _RECORD.unpack_from(frame, at)
        middle = start + size
        at = middle + length
        if at > end:
            raise Malformed("a record that is cut off")
        yield frame[start:middle].decode("ascii", "replace"), frame[middle:at]
