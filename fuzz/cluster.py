"""Targets: what other servers send, and the peers of a mesh."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from fuzz.errors import demand, demand_equal
from netserver.backplane.zeromq import wire as mesh
from netserver.cluster.frames import BadFrame, Kind, decode, encode, encode_head, encode_messages
from netserver.cluster.presence import GroupPresence, decode_notice, encode_notice


def frames(data: bytes) -> None:
    """A frame, or several: read, written again, and what is told of presence merged."""
    try:
        frame = decode(data)
    except BadFrame:
        return
    again = encode_head(frame.sender, frame.name)
    again += b"".join(encode_messages(Kind.DIRECT, frame.messages, frame.numbers))
    for record in frame.records:
        again += encode(record.kind, record.flags, record.number, record.key, record.body)
    demand_equal(again, data, "a frame is written as it was read")
    presence = GroupPresence()
    seen: set[int] = set()
    for record in frame.records:
        with suppress(BadFrame):
            demand(len(record.message) <= len(record.body), "a message is no longer than its body")
        if record.kind not in (Kind.PRESENCE, Kind.MEMBERS):
            continue
        try:
            group, notice = decode_notice(record.body, "there")
        except BadFrame:
            continue
        demand_equal(
            decode_notice(encode_notice(notice, group), "there"),
            (group, notice),
            "a notice is read as it was written",
        )
        if record.kind is Kind.MEMBERS:
            change, _ = presence.take_whole("there", notice, 0.0)
        else:
            change, _ = presence.take("there", notice, 0.0)
        seen -= {member.id for member in change.went}
        seen |= {member.id for member in change.came}
        demand_equal(
            {member.id for member in presence.members()}, seen, "the changes add up to the members"
        )


def peer(data: bytes) -> None:
    """One frame of a zmq:// peer: it is read, or is malformed."""
    with suppress(mesh.Malformed):
        kind = mesh.kind_of(data)
        readers: dict[mesh.Kind, Callable[[bytes], object]] = {
            mesh.Kind.PEERS: mesh.read_peers,
            mesh.Kind.CHANGE: mesh.read_change,
            mesh.Kind.ACK: mesh.read_ack,
            mesh.Kind.BEAT: mesh.read_beat,
            mesh.Kind.BYE: mesh.read_bye,
            mesh.Kind.DATA: lambda frame: list(mesh.read_data(frame)),
        }
        reader = readers.get(kind)
        if kind in (mesh.Kind.HELLO, mesh.Kind.WELCOME):
            mesh.read_introduction(data)
        elif reader is not None:
            reader(data)
