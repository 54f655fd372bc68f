"""Somebody else publishes on the broker: what is no frame, or is forged, in any amount."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import nats
import pytest
from nats.aio.client import Client as Stranger

from benchmark.brokers.nats import nats_server
from benchmark.brokers.process import BrokerMissing
from netserver import ClusterConfig, GroupRules, History, Outcome, Unanswered
from netserver.cluster import peers
from netserver.cluster.frames import LAST, Kind, encode, encode_head, encode_message, encode_record
from netserver.cluster.presence import Member, Notice, encode_notice
from netserver.cluster.subjects import Subjects
from tests.netserver.cluster.conftest import PATIENCE, Fleet, Guest, Visitor

CONFIG = ClusterConfig(heartbeat=0.2, dead_after=1.0, resync=1.0, publish_limit=500_000)
RULES = GroupRules(presence=True, history=History(count=100))
SUBJECTS = Subjects("foreman")
ROOM = SUBJECTS.group("room/1")
MIB = 2**20 - 100


class Busy(Guest):
    """Does not come to answer."""

    async def on_ask(self, message: Any) -> str:
        await asyncio.Event().wait()
        return ""


class World:
    """A server, somebody on it, another server, and a stranger on their broker."""

    def __init__(self, fleet: Fleet, stranger: Stranger) -> None:
        self.a = fleet.server(rules=RULES, config=CONFIG, kind=Busy)
        self.b = fleet.server(config=CONFIG)
        self.ann: Visitor = fleet.visit(self.a, "ann")
        self.ben: Visitor = fleet.visit(self.b, "ben")
        self.ann.client.send(json.dumps(["join", "room/1", None, None]))
        assert {self.ann.read()[0], self.ann.read()[0]} == {"joined", "recovery"}
        self.stranger = stranger
        self.id = self.a.cluster.id

    @property
    def own(self) -> str:
        return SUBJECTS.server(self.id)

    async def say(self, subject: str, name: str, *records: bytes, sender: int = 7) -> None:
        """Publish a frame."""
        head = encode_head(sender.to_bytes(8), name)
        await self.stranger.publish(subject, head + b"".join(records))

    async def heard(self) -> None:
        """Wait until the server has dealt with all that was published."""
        await self.stranger.flush()
        before = self.a.statistics().cluster.frames_received
        await self.say(SUBJECTS.everybody, "*", encode_message(Kind.EVERYBODY, "heard"))
        await self.stranger.flush()
        while await asyncio.to_thread(self.ann.client.recv, PATIENCE) != "heard":
            pass
        assert self.a.statistics().cluster.frames_received > before

    async def check(self) -> None:
        """The server is well, and so are those on it."""
        await self.heard()
        delivery = self.b.send_to("ann", "hello", timeout=PATIENCE)
        outcome = await asyncio.to_thread(delivery.wait, PATIENCE)
        assert outcome is Outcome.DELIVERED
        answer = self.a.ask("ben", "hello", timeout=PATIENCE)
        assert await asyncio.to_thread(answer.wait, PATIENCE) == "ben says hello"
        await until(lambda: self.a.statistics().cluster.waiting == 0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def made() -> AsyncIterator[World]:
    try:
        with nats_server() as broker, ExitStack() as stack:
            fleet = Fleet(lambda: f"{broker.url}?history=off", stack)
            stranger = await nats.connect(broker.url)
            try:
                yield await asyncio.to_thread(World, fleet, stranger)
            finally:
                await stranger.close()
    except BrokerMissing as missing:
        pytest.skip(str(missing))


async def test_what_is_no_frame_is_counted_and_harms_nothing() -> None:
    async with made() as world:
        frame = encode_head(bytes(8), "ann") + encode_message(Kind.DIRECT, "x", number=1)
        bad = [b"", b"\0", os.urandom(1000), bytes(MIB), b"\xff" * MIB]
        bad += [frame[:at] for at in range(len(frame) - 1)]
        bad += [frame + b"\1", frame[:-2] + b"\xff\xff", b"\2" + frame[1:]]
        subjects = [ROOM, SUBJECTS.identity("ann"), SUBJECTS.everybody, world.own]
        for subject in subjects:
            for payload in bad:
                await world.stranger.publish(subject, payload)
            for kind in Kind:  # none of these is for where it goes, or is what it should be
                await world.stranger.publish(
                    subject, encode_head(bytes(8), "odd") + encode(kind, 0, 1, "", b"\xff")
                )
            await world.stranger.flush()
        for subject, name in zip(subjects, ("room/1", "ann", "*", world.id.hex()), strict=True):
            for kind in Kind:
                if kind is not Kind.BYE:
                    await world.say(subject, name, encode(kind, 0, 1, "", b"\xff"))
        await world.check()
        assert world.a.statistics().cluster.invalid > len(bad) * len(subjects)


async def test_forged_answers_do_not_keep_anybody_waiting() -> None:
    async with made() as world:
        questions = [world.b.ask("ann", "?", timeout=0.5) for _ in range(3)]
        own = SUBJECTS.server(world.b.cluster.id)
        name = world.b.cluster.id.hex()
        for number in range(1, 4):
            bad = encode(Kind.ANSWER, 0, number, "", b"\xff")
            same = encode_record(Kind.NO_RECEIPTS, number.to_bytes(4) * (MIB // 20))
            await world.say(own, name, bad, same)
            await world.say(own, name, same)
        for question in questions:
            with pytest.raises(Unanswered):
                await asyncio.to_thread(question.wait, PATIENCE)
        await world.check()


async def test_asking_for_much_with_few_words_is_not_served_without_end() -> None:
    async with made() as world:
        for number in range(50):
            world.a.publish("room/1", f"{number}" * 1000)
        give = encode_record(Kind.FETCH_HISTORY, b"room/1")
        hello = encode_record(Kind.PRESENCE, encode_notice(Notice(0, hello=True)))
        members = encode_record(Kind.ASK_MEMBERS, b"room/1")
        await world.say(world.own, world.id.hex(), *[give] * 20_000)
        await world.say(world.own, world.id.hex(), *[members] * 5000, *[give] * 5000)
        await world.say(ROOM, "room/1", *[hello] * 5000, *[encode_record(Kind.ASK_HISTORY)] * 5000)
        await world.check()
        sender = world.a.cluster._core.sender
        assert sender.dropped > 10_000
        await until(lambda: sender._owed == 0)


async def test_questions_without_end_are_refused() -> None:
    async with made() as world:
        ask = encode_message(Kind.ASK, "x" * 1000, number=9)
        for _ in range(5):
            await world.say(SUBJECTS.identity("ann"), "ann", *[ask] * (MIB // len(ask)))
        await world.check()
        (connection,) = world.a.connections
        await until(lambda: connection._questions)
        assert connection._questions <= world.a.config.receive_limit + 2000


async def test_servers_that_somebody_makes_up_are_bounded_and_die(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with made() as world:
        monkeypatch.setattr(peers, "MOST", 500)
        for number in range(100, 1100):
            member = Member("eve", "x" * 1000, "", number)
            notice = encode_record(Kind.PRESENCE, encode_notice(Notice(1, (member,))))
            part = Notice(5, (member,), last=False)
            more = encode_record(Kind.MEMBERS, encode_notice(part, "room/1"))
            await world.say(ROOM, "room/1", notice, sender=number)
            await world.say(world.own, world.id.hex(), more, more, sender=number)
        await world.heard()
        assert world.a.statistics().cluster.peers <= 500
        assert 1 <= len(world.a.presence("room/1")) <= 501
        await until(lambda: [m.identity for m in world.a.presence("room/1")] == ["ann"])
        await until(lambda: world.a.statistics().cluster.peers == 0)
        await world.check()


async def test_a_history_that_is_made_up_is_bounded() -> None:
    async with made() as world:
        await world.stranger.subscribe("foreman.s.*")
        offered = asyncio.Event()

        async def offer(message: Any) -> None:
            payload = message.data
            number = int.from_bytes(payload[payload.index(bytes([Kind.ASK_HISTORY, 1])) :][2:6])
            await world.say(
                world.own, world.id.hex(), encode_record(Kind.OFFER_HISTORY, number=number)
            )
            at = [float("nan"), float("inf"), time.time() + 1e9]
            for each in at * 10:
                body = struct.pack("!d", each) + b"x" * (MIB - 200)
                entry = encode(Kind.HISTORY, 0, number, f"id{each}", body)
                await world.say(world.own, world.id.hex(), entry)
            await world.say(world.own, world.id.hex(), encode(Kind.HISTORY, LAST, number, "", b""))
            offered.set()

        group = "room/made up"
        await world.stranger.subscribe(SUBJECTS.group(group), cb=offer)
        await world.stranger.flush()
        delivery = world.a.publish(group, "y")
        assert await asyncio.to_thread(delivery.wait, PATIENCE) is Outcome.QUEUED
        await offered.wait()
        now = time.time()
        entries = list(world.a.cluster._core.channels.entries(group))
        assert entries
        assert sum(len(entry.message) for entry in entries) <= RULES.history.size  # type: ignore[union-attr]
        assert all(entry.at <= now for entry in entries)
        await world.check()
