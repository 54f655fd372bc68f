"""Who is in which group, on all servers: each keeps its own, and merges what the others tell.

Pure: told what comes, it says what to tell whom. A server's share of a group has a version, counted
up by each notice of a change; whoever misses one asks for the whole share. Notices and whole
shares go by two ways and may overtake each other: the version says which is the later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from attrs import define, field, frozen

from netserver.cluster.frames import BadFrame, check_name

# What `Connection.join` may tell about a member, bytes of JSON.
LONGEST_DATA = 4096

# And how deeply it may be nested.
DEEPEST = 100

# So many members are told in one record, of so many bytes of JSON, roughly: every broker takes it.
CHUNK = 200
LONGEST_CHUNK = 32 * 1024

# So many members of one group another server may tell of: more than any has connections.
MOST_MEMBERS = 100_000


@frozen
class Member:
    """Somebody in a group: one connection.

    Args:
        identity: Who it is; None where it was given none.
        data: What `Connection.join` was told of it.
        server: The id of the server it is connected to.
        id: Its `Connection.id` there.
    """

    identity: str | None
    data: Any
    server: str
    id: int


@define
class Share:
    """One server's members of a group.

    Attributes:
        version: Counts its changes.
        members: By their ids.
        latest: The latest version that was told of, as far as it has not been asked for.
        heard: When its server last told something of it, by the clock of `PresenceTracker`.
        incoming: The version and the parts of a whole share that is coming; None while none is.
    """

    version: int = 0
    members: dict[int, Member] = field(factory=dict)
    latest: int = 0
    heard: float = 0.0
    incoming: tuple[int, dict[int, Member]] | None = None


@frozen
class Change:
    """Who came to a group and who went."""

    came: tuple[Member, ...] = ()
    went: tuple[Member, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.came or self.went)


@frozen
class Notice:
    """What a server tells of its share of a group.

    Args:
        version: Of the share, with this notice.
        came, went: What has changed; of a whole share, a part of it.
        hello: Whether the sender wants to be told the others'.
        last: Whether it is the last part of a whole share.
    """

    version: int
    came: tuple[Member, ...] = ()
    went: tuple[int, ...] = ()
    hello: bool = False
    last: bool = True


class GroupPresence:
    """The members of one group. Not thread-safe: its owner calls it.

    Args:
        version: What the own share begins with: no less than the last that the others may know.
    """

    def __init__(self, version: int = 0) -> None:
        self.own = Share(version)
        self.others: dict[str, Share] = {}
        self._told: dict[int, Member] = {}  # what the others were told of the own share

    def members(self) -> list[Member]:
        """Everybody, this server's first."""
        shares = [self.own, *self.others.values()]
        return [member for share in shares for member in share.members.values()]

    # ---------------------------------------------------------------- the own share

    def join(self, member: Member) -> Change:
        """One of this server's comes, or is somebody else now."""
        before = self.own.members.get(member.id)
        if before == member:
            return Change()
        self.own.members[member.id] = member
        return Change((member,), () if before is None else (before,))

    def leave(self, id: int) -> Change:
        """One of this server's goes."""
        member = self.own.members.pop(id, None)
        return Change() if member is None else Change((), (member,))

    def untold(self, hello: bool = False) -> list[Notice]:
        """What has changed of the own share since the last time, to be told to the others."""
        own, told = self.own.members, self._told
        came = _cut([member for id, member in own.items() if told.get(id) is not member])
        gone = [id for id in told if id not in own]
        went = [tuple(gone[at : at + CHUNK]) for at in range(0, len(gone), CHUNK)]
        self._told = dict(own)
        notices = []
        for some, others in zip_longest(came, went, fillvalue=()):
            self.own.version += 1
            notices.append(Notice(self.own.version, some, others))
        if hello:
            notices.append(Notice(self.own.version, hello=True))
        return notices

    def whole(self) -> list[Notice]:
        """The own share as the others were told it, in parts."""
        parts = _cut(self._told.values()) or [()]
        return [
            Notice(self.own.version, part, last=number == len(parts) - 1)
            for number, part in enumerate(parts)
        ]

    # ---------------------------------------------------------------- the others' shares

    def take(self, server: str, notice: Notice, now: float) -> tuple[Change, bool]:
        """Another server tells of a change, or of its version.

        Returns:
            What it changes, and whether its whole share must be asked for.
        """
        share = self._hear(server, notice, now)
        changes = bool(notice.came or notice.went)
        if notice.version <= share.version:
            return Change(), False  # a whole share that had it was faster
        if not changes or notice.version != share.version + 1:
            return Change(), True
        if len(share.members) > MOST_MEMBERS:
            raise BadFrame(f"over {MOST_MEMBERS} members of one group on one server")
        share.version = notice.version
        went = [share.members.pop(id) for id in notice.went if id in share.members]
        for member in notice.came:
            if (before := share.members.get(member.id)) is not None:
                went.append(before)
            share.members[member.id] = member
        return Change(notice.came, tuple(went)), False

    def take_whole(self, server: str, notice: Notice, now: float) -> tuple[Change, bool]:
        """Another server tells all of its share, or a part of it.

        Returns:
            What it changes, and whether it must be asked for again.
        """
        share = self._hear(server, notice, now)
        if share.incoming is None or share.incoming[0] != notice.version:
            share.incoming = notice.version, {}
        version, members = share.incoming
        if len(members) > MOST_MEMBERS:
            raise BadFrame(f"over {MOST_MEMBERS} members of one group on one server")
        members.update((member.id, member) for member in notice.came)
        if not notice.last:
            return Change(), False
        share.incoming = None
        if version < share.version:
            return Change(), False  # notices were faster
        before, share.members, share.version = share.members, members, version
        change = Change(
            tuple(m for id, m in members.items() if before.get(id) != m),
            tuple(m for id, m in before.items() if members.get(id) != m),
        )
        ask, share.latest = share.latest > version, version  # once, whoever said what of versions
        return change, ask

    def _hear(self, server: str, notice: Notice, now: float) -> Share:
        share = self.others.setdefault(server, Share())
        share.heard = now
        share.latest = max(share.latest, notice.version)
        return share

    def silent(self, since: float) -> list[str]:
        """The servers that have told nothing of their shares for so long, not even the version."""
        return [server for server, share in self.others.items() if share.heard < since]

    def lose(self, server: str) -> Change:
        """Another server is gone, and its members with it."""
        share = self.others.pop(server, None)
        return Change() if share is None else Change((), tuple(share.members.values()))


# -------------------------------------------------------------------- what goes over the wire


def _cut(members: Iterable[Member]) -> list[tuple[Member, ...]]:
    """Members in parts that can be told in one record each."""
    parts: list[tuple[Member, ...]] = []
    part: list[Member] = []
    length = 0
    for member in members:
        more = len(json.dumps((member.id, member.identity, member.data)))
        if part and (len(part) == CHUNK or length + more > LONGEST_CHUNK):
            parts.append(tuple(part))
            part, length = [], 0
        part.append(member)
        length += more
    if part:
        parts.append(tuple(part))
    return parts


def encode_notice(notice: Notice, group: str | None = None) -> bytes:
    """A notice as JSON.

    Args:
        group: Whose it is, where the subject does not say so.
    """
    fields: dict[str, object] = {"v": notice.version}
    if group is not None:
        fields["group"] = group
    if notice.came:
        fields["came"] = [[m.id, m.identity, m.data] for m in notice.came]
    if notice.went:
        fields["went"] = list(notice.went)
    if notice.hello:
        fields["hello"] = True
    if not notice.last:
        fields["more"] = True
    return json.dumps(fields, separators=(",", ":")).encode()


def decode_notice(body: bytes, server: str) -> tuple[str | None, Notice]:
    """The group, where it is told, and the notice.

    Raises:
        BadFrame: It is none.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise BadFrame("a notice is not JSON") from None
    if not isinstance(fields, dict):
        raise BadFrame("a notice is not an object")
    group = fields.get("group")
    if group is not None and not _is_name(group):
        raise BadFrame("a notice of no group")
    version, came, went = fields.get("v"), fields.get("came", []), fields.get("went", [])
    if not isinstance(version, int) or not _is_number(version):
        raise BadFrame("a notice without a version")
    if not isinstance(came, list) or not isinstance(went, list):
        raise BadFrame("a notice without what belongs into it")
    if len(came) > CHUNK or len(went) > CHUNK or not all(map(_is_number, went)):
        raise BadFrame("a notice with too much or with the wrong things in it")
    return group, Notice(
        version,
        tuple(_member(each, server) for each in came),
        tuple(went),
        fields.get("hello") is True,
        fields.get("more") is not True,
    )


def _member(fields: object, server: str) -> Member:
    if not isinstance(fields, list) or len(fields) != 3:
        raise BadFrame("a member who is none")
    id, identity, data = fields
    if not _is_number(id) or not (identity is None or _is_name(identity)):
        raise BadFrame("a member who is none")
    try:
        told = json.dumps(data)
    except RecursionError:
        raise BadFrame("too much about a member") from None
    if len(told) > 2 * LONGEST_DATA or _is_deep(told):
        raise BadFrame("too much about a member")
    return Member(identity, data, server, id)


def as_told(data: Any) -> Any:
    """What is told about a member, as the others see it: a copy, which nobody changes later.

    Raises:
        ValueError: It is not to be had in JSON, or is over 4 KiB of it, or nested too deeply.
    """
    try:
        told = json.dumps(data, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"what is told about a member must be JSON: {error}") from error
    if len(told) > LONGEST_DATA:
        raise ValueError(f"{len(told)} bytes about a member are more than {LONGEST_DATA}")
    if _is_deep(told):
        raise ValueError(f"what is told about a member is nested over {DEEPEST} deep")
    return json.loads(told)


def _is_deep(told: str) -> bool:
    """Whether JSON may be nested too deeply to be encoded and compared on any stack.

    Brackets in texts count, too; few texts have so many more of those that open.
    """
    if told.count("[") + told.count("{") <= DEEPEST:
        return False
    depth = 0
    for character in told:
        if character in "[{":
            depth += 1
            if depth > DEEPEST:
                return True
        elif character in "]}":
            depth -= 1
    return False


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_name(value: object) -> bool:
    try:
        check_name(value)
    except (TypeError, ValueError):
        return False
    return True
