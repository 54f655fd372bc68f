"""Messages that go and come together: whatever is mixed in a batch, each is as if it were alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from netserver import ClusterConfig, Delivery, Outcome
from netserver.backplane.memory import MemoryBackplane
from netserver.backplane.url import BackplaneUrl
from netserver.cluster.deadlines import MOST, Deadlines
from netserver.cluster.frames import (
    BadFrame,
    Frame,
    Kind,
    decode,
    encode,
    encode_head,
    encode_message,
    encode_messages,
    encode_record,
)
from netserver.cluster.identities import Identities
from netserver.cluster.lane import Lane
from netserver.cluster.router import Router
from netserver.cluster.sender import FRAME, Budget, Sender
from netserver.cluster.subjects import Subjects
from netserver.groups import Groups
from netwire import Message
from tests.netserver.cluster.conftest import PATIENCE, Fleet

SUBJECTS = Subjects("p")
HEAD = encode_head(bytes(8), "ben")


class Ends:
    """A router that publishes, and what was heard of it."""

    def __init__(self, mine: MemoryBackplane, budget: Budget) -> None:
        async def nothing() -> bool:
            return False

        async def end() -> None: ...

        self.budget = budget
        self.sender = Sender(mine, ClusterConfig(), bytes(8), budget, SUBJECTS)
        lane = Lane("unused", asyncio.new_event_loop, nothing, end)
        self.router = Router(lane, self.sender, SUBJECTS, Identities(), Groups(), False)
        self.heard: list[tuple[str, Frame]] = []

    def item(
        self, name: str, message: Message, timeout: float = 60.0, outcome: Outcome | None = None
    ) -> tuple[str, Message, Delivery, float, int]:
        size = len(message)
        assert self.budget.take(size)
        return name, message, Delivery(outcome), timeout, size

    async def send(self, batch: list[tuple[str, Message, Delivery, float, int]]) -> None:
        self.router.send(batch)
        task = asyncio.create_task(self.sender.run())
        async with asyncio.timeout(PATIENCE):
            await self.sender.flush()
        task.cancel()
        assert self.budget.used == 0


@asynccontextmanager
async def ends(*names: str) -> AsyncIterator[Ends]:
    url = BackplaneUrl.parse("memory://batches")
    mine, other = MemoryBackplane(url), MemoryBackplane(url)
    found = Ends(mine, Budget(10_000_000))

    def hear(subject: str, payload: bytes) -> None:
        found.heard.append((subject, decode(payload)))

    await mine.start(lambda *_: None, lambda *_: None)
    await other.start(hear, lambda *_: None)
    await other.subscribe([SUBJECTS.identity(name) for name in names])
    yield found
    found.router.give_up()
    await mine.close()
    await other.close()


async def test_a_batch_is_told_apart_by_identity_and_keeps_its_order() -> None:
    async with ends("ann", "ben") as found:
        batch = [
            found.item("ann", b"1"),
            found.item("ann", "2"),
            found.item("ben", b"3"),
            found.item("ann", b"4", timeout=30.0),
            found.item("ann", "5 ß", outcome=Outcome.DELIVERED),
            found.item("gone", b"6"),
            found.item("gone", b"7", outcome=Outcome.DELIVERED),
        ]
        await found.send(batch)
        got = {frame.name: frame for _, frame in found.heard}
        assert {subject for subject, _ in found.heard} == {"p.c.ann", "p.c.ben"}
        assert got["ann"].messages == [b"1", "2", b"4", "5 ß"]
        assert got["ben"].messages == [b"3"]
        numbers = [*got["ann"].numbers, *got["ben"].numbers]
        assert numbers.pop(3) == 0  # nobody waits for word of it
        assert len(set(numbers)) == 4
        assert 0 not in numbers
        outcomes = [delivery.outcome for _, _, delivery, _, _ in batch]
        delivered = Outcome.DELIVERED
        assert outcomes == [None, None, None, None, delivered, Outcome.NOBODY, delivered]


async def test_a_long_batch_is_several_frames() -> None:
    async with ends("ben") as found:
        await found.send([found.item("ben", bytes([n]) * 1000) for n in range(200)])
        assert len(found.heard) > 2
        messages = [message for _, frame in found.heard for message in frame.messages]
        assert [message[0] for message in messages] == list(range(200))
        assert all(sum(map(len, frame.messages)) < FRAME for _, frame in found.heard)


async def test_one_that_cannot_be_sent_harms_none_beside_it() -> None:
    async with ends("ben") as found:
        batch = [found.item("ben", text) for text in ("1", "\ud800", "2")]  # checked before, really
        await found.send(batch)
        assert [frame.messages for _, frame in found.heard] == [["1", "2"]]
        assert [delivery.outcome for _, _, delivery, _, _ in batch] == [None, Outcome.REFUSED, None]
        assert len(found.router._waiting) == 2
        assert found.sender.dropped == 1


# ---------------------------------------------------------------- numbers


async def test_those_that_come_together_have_numbers_in_a_row_and_expire_together() -> None:
    expired: list[tuple[int, str]] = []
    done = asyncio.Event()

    def expire(number: int, thing: str) -> None:
        expired.append((number, thing))
        if thing == "d":
            done.set()

    deadlines = Deadlines(expire)
    numbers = [*deadlines.add_all("ab", 0.05), *deadlines.add_all("cd", 0.05)]
    assert numbers == list(range(numbers[0], numbers[0] + 4))
    assert deadlines.take_each([numbers[1], numbers[1], 4711]) == ["b"]
    async with asyncio.timeout(PATIENCE):
        await done.wait()
    assert expired == [(numbers[0], "a"), (numbers[2], "c"), (numbers[3], "d")]
    assert len(deadlines) == 0


async def test_after_the_last_number_come_the_first_that_are_free() -> None:
    deadlines: Deadlines[str] = Deadlines(lambda *_: None)
    first = deadlines.add("first", 60.0)
    deadlines._next = MOST - 2
    assert deadlines.add_all("yz", 60.0) == range(MOST - 2, MOST)
    assert deadlines.add_all("abc", 60.0) == range(first + 1, first + 4)
    assert deadlines.look_at(first) == "first"
    deadlines._next = first
    assert deadlines.add("d", 60.0) == first + 4
    deadlines._next = MOST - 1
    deadlines.take(first)
    assert deadlines.add_all("ef", 60.0) == range(first + 5, first + 7)  # one is too few
    assert len(deadlines.take_all()) == 8


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize(
    "behind",
    [
        encode_message(Kind.DIRECT, "with a key", 3, "key"),
        encode(Kind.DIRECT, 2, 3, "", b"with another flag"),
        encode_record(Kind.INBOX_PROBE, number=3),
    ],
)
def test_the_messages_that_come_first_are_taken_together(behind: bytes) -> None:
    messages = encode_messages(Kind.DIRECT, [b"\xff", "ß"], [1, 2])
    frame = decode(HEAD + b"".join(messages) + behind + messages[0])
    assert (frame.numbers, frame.messages) == ([1, 2], [b"\xff", "ß"])
    assert [record.number for record in frame.records] == [3, 1]
    assert frame.records[1].message == b"\xff"


@pytest.mark.parametrize("cut", range(1, 15))
def test_the_last_of_them_is_not_taken_in_part(cut: int) -> None:
    data = HEAD + b"".join(encode_messages(Kind.DIRECT, [b"1", b"22"], [1, 2]))
    if cut == 14:
        assert decode(data[:-cut]).messages == [b"1"]
        return
    with pytest.raises(BadFrame, match="within"):
        decode(data[:-cut])


def test_a_text_among_them_that_is_none_is_refused() -> None:
    with pytest.raises(BadFrame, match="UTF-8"):
        decode(HEAD + encode(Kind.DIRECT, 0, 1, "", b"\xff"))


def test_one_behind_something_else_is_handed_over_in_its_turn(fleet: Fleet) -> None:
    a, b = fleet.server(), fleet.server()
    ben = fleet.visit(b, "ben")
    told = a.send_to("ben", "0")
    assert told.wait(PATIENCE) is Outcome.DELIVERED

    def publish(core: Any) -> None:
        subject = core.subjects.identity("ben")
        core.sender.add(subject, "ben", encode_message(Kind.DIRECT, "1"))
        core.sender.add(subject, "ben", encode_record(Kind.INBOX_PROBE, number=4711))
        core.sender.add(subject, "ben", encode_message(Kind.DIRECT, "2"))
        core.sender.add(subject, "ben", encode_message(Kind.DIRECT, "3", key="key"))

    a.cluster._lane.post(publish, a.cluster._core)
    assert [ben.client.recv(PATIENCE) for _ in range(4)] == ["0", "1", "2", "3"]
