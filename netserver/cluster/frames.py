"""What servers tell each other, byte by byte. Sans-IO, and hostile until shown otherwise.

A frame goes to one subject, and holds any number of records for it::

    frame  = version (1) sender (8) name-length (2) name record*
    record = kind (1) flags (1) number (4) key-length (2) body-length (4) key body

Numbers are unsigned and in network order. ``name`` is the identity, group or server that the
subject stands for, in UTF-8, at most 1024 bytes; ``number`` is what an answer refers to, 0 for
none.
``key`` is a text that belongs to a message: what it is about, or what makes it unique.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum

from attrs import define

from netserver.backplane.errors import BackplaneError
from netwire import Message

VERSION = 1
SERVER_ID = 8  # bytes

LONGEST_NAME = 1024  # bytes
LONGEST_KEY = 256  # bytes

_HEAD = struct.Struct("!B8sH")
_RECORD = struct.Struct("!BBIHI")

# What a frame and its only record add to a message at most, bytes.
OVERHEAD = _HEAD.size + LONGEST_NAME + _RECORD.size + LONGEST_KEY


class Kind(IntEnum):
    """What a record says."""

    GROUP = 1  # a message to the members of the group named
    EVERYBODY = 2  # a message to every connection
    DIRECT = 3  # a message to the connections of the identity named
    ASK = 4  # the same, and one of them is to answer
    ANSWER = 5  # the answer to an ASK
    REFUSAL = 6  # why there is none, in words
    RECEIPTS = 7  # numbers of DIRECT records, 4 bytes each, that somebody got
    NO_RECEIPTS = 8  # and those that nobody was there for
    INBOX_PROBE = 21  # is a connection of the identity named in its inbox
    CLAIM = 9  # a connection wants to be the one of the identity named
    CLAIM_ANSWER = 10  # what the holder of it says
    ENTRY = 11  # a message for the history of the group named; its key makes it unique
    ASK_HISTORY = 12  # who has what was said in the group named
    OFFER_HISTORY = 13  # the sender has
    FETCH_HISTORY = 14  # then tell, of the group that is the body
    HISTORY = 15  # one message of it, behind the time it was said at; its key makes it unique
    PRESENCE = 16  # who came to the group named, and who went
    ASK_MEMBERS = 17  # who of yours is in the group that is the body
    MEMBERS = 18  # everybody of the sender's who is in a group, in answer
    BEAT = 19  # the server named is there
    BYE = 20  # the server named goes


# Flags of a record; plain numbers, for every message passes by.
BINARY = 1  # the body is bytes, not UTF-8
LAST = 2  # nothing more belongs to it


class BadFrame(BackplaneError, ValueError):
    """Something that is no frame of ours.

    Attributes:
        reason: What is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"not a frame: {self.reason}"


@define
class Record:
    """One record of a frame.

    Args:
        kind: What it says.
        flags: More about it.
        number: What an answer refers to; 0 for none.
        key: A text that belongs to it; "" for none.
        body: The rest.
    """

    kind: Kind
    flags: int
    number: int
    key: str
    body: bytes

    @property
    def message(self) -> Message:
        """The body as the message that it was.

        Raises:
            BadFrame: It is said to be text, and is none.
        """
        if self.flags & BINARY:
            return self.body
        return _decode_text(self.body)


@define
class Frame:
    """A frame, taken apart.

    It mostly holds messages for an identity, and nothing else. So those that it begins with are
    taken out together, as far as they are DIRECT, without a key, and whole.

    Args:
        sender: The server's id.
        name: What its subject stands for.
        numbers, messages: The number and the message of each of those.
        records: What comes behind them, in order.
    """

    sender: bytes
    name: str
    numbers: list[int]
    messages: list[Message]
    records: tuple[Record, ...]


def encode_head(sender: bytes, name: str) -> bytes:
    """The beginning of a frame.

    Raises:
        ValueError: The name is too long.
    """
    encoded = check_name(name)
    return _HEAD.pack(VERSION, sender, len(encoded)) + encoded


def encode_record(kind: Kind, body: bytes = b"", *, number: int = 0, key: str = "") -> bytes:
    """A record that is no user's message, or one whose body is bytes."""
    return encode(kind, BINARY, number, key, body)


def encode_message(kind: Kind, message: Message, number: int = 0, key: str = "") -> bytes:
    """A record with a user's message.

    Raises:
        ValueError: The key is too long, or the text has surrogates.
    """
    flags = BINARY
    if isinstance(message, str):
        flags, message = 0, message.encode()
    if key:
        return encode(kind, flags, number, key, message)
    return _RECORD.pack(kind, flags, number, 0, len(message)) + message  # nearly every message


def encode_messages(kind: Kind, messages: Sequence[Message], numbers: Sequence[int]) -> list[bytes]:
    """The records of several users' messages, without keys.

    Raises:
        ValueError: A text has surrogates.
    """
    pack = _RECORD.pack
    return [
        pack(kind, BINARY, number, 0, len(message)) + message
        if type(message) is bytes
        else encode_message(kind, message, number)
        for message, number in zip(messages, numbers, strict=True)
    ]


def encode(kind: int, flags: int, number: int, key: str, body: bytes) -> bytes:
    """Any record.

    Raises:
        ValueError: The key is too long.
    """
    if not key:
        return _RECORD.pack(kind, flags, number, 0, len(body)) + body
    encoded = check_key(key)
    return _RECORD.pack(kind, flags, number, len(encoded), len(body)) + encoded + body


def check_name(name: object) -> bytes:
    """A name in UTF-8.

    Raises:
        TypeError: It is no str.
        ValueError: It is empty, has surrogates, or is too long.
    """
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {name!r}")
    encoded = name.encode()
    if not 0 < len(encoded) <= LONGEST_NAME:
        raise ValueError(f"a name has 1 to {LONGEST_NAME} bytes, not {len(encoded)}")
    return encoded


def check_key(key: object) -> bytes:
    """A key in UTF-8.

    Raises:
        TypeError: It is no str.
        ValueError: It has surrogates, or is too long.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {key!r}")
    encoded = key.encode()
    if len(encoded) > LONGEST_KEY:
        raise ValueError(f"a key has at most {LONGEST_KEY} bytes, not {len(encoded)}")
    return encoded


def decode(data: bytes) -> Frame:
    """Take a frame apart.

    Raises:
        BadFrame: It is none.
    """
    if len(data) < _HEAD.size:
        raise BadFrame(f"{len(data)} bytes are too short for one")
    version, sender, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BadFrame(f"version {version} is not {VERSION}")
    at = _HEAD.size + length
    if not 0 < length <= LONGEST_NAME or at > len(data):
        raise BadFrame(f"a name of {length} bytes")
    try:
        name = data[_HEAD.size : at].decode()
    except UnicodeDecodeError:
        raise BadFrame("a name is not UTF-8") from None
    numbers, messages, at = _decode_messages(data, at)
    return Frame(sender, name, numbers, messages, tuple(_decode_records(data, at)))


def _decode_messages(data: bytes, at: int) -> tuple[list[int], list[Message], int]:
    """The messages that come first, as `Frame` has them, and where they end."""
    numbers: list[int] = []
    messages: list[Message] = []
    last, head, unpack = len(data), _RECORD.size, _RECORD.unpack_from
    while at + head <= last:
        code, flags, number, key_length, length = unpack(data, at)
        end = at + head + length
        if code != _DIRECT or flags > BINARY or key_length or end > last:
            break
        body = data[at + head : end]
        messages.append(body if flags else _decode_text(body))
        numbers.append(number)
        at = end
    return numbers, messages, at


def _decode_records(data: bytes, at: int) -> Iterator[Record]:
    """The records of a frame from there on; one loop for all, for every message passes by."""
    size, head, unpack, kinds = len(data), _RECORD.size, _RECORD.unpack_from, _KINDS
    while at < size:
        body_at = at + head
        if body_at > size:
            raise BadFrame("it ends within the head of a record")
        code, flags, number, key_length, length = unpack(data, at)
        kind = kinds.get(code)
        if kind is None:
            raise BadFrame(f"a record of kind {code}")
        key = ""
        if key_length:
            if key_length > LONGEST_KEY:
                raise BadFrame(f"a key of {key_length} bytes")
            key = _decode_key(data[body_at : body_at + key_length])
            body_at += key_length
        at = body_at + length
        if at > size:
            raise BadFrame("it ends within a record")
        yield Record(kind, flags, number, key, data[body_at:at])


def _decode_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadFrame("a text is not UTF-8") from None


def _decode_key(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise BadFrame("a key is not UTF-8") from None


_DIRECT = int(Kind.DIRECT)
_KINDS: dict[int, Kind] = {int(kind): kind for kind in Kind}
