"""What a journal promises, on JetStream: one order, offsets, epochs, what is surely complete."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from attrs import define, field

from benchmark.brokers.nats import NatsServer
from netserver.backplane import (
    Journal,
    JournalError,
    LinkDown,
    LinkState,
    PayloadTooLarge,
    Record,
    SubjectError,
    make_backplane,
)
from tests.netserver.backplane.brokers import required_nats
from tests.netserver.backplane.conftest import PATIENCE, Peer

Scenario: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with required_nats(jetstream=True) as server:
        yield server


def run(scenario: Scenario) -> None:
    async def limited() -> None:
        async with asyncio.timeout(40):
            await scenario()

    asyncio.run(limited())


@define(eq=False)
class Reader(Peer):
    """A server's end, and what it heard of the journal."""

    followed: list[tuple[str, int, Record]] = field(factory=list)

    @property
    def journal(self) -> Journal:
        assert self.backplane.journal is not None
        return self.backplane.journal

    async def open(self, count: int = 100, age: float = 60) -> None:
        await self.journal.open(self.hear, count=count, age=age)

    def hear(self, subject: str, previous: int, record: Record) -> None:
        self.followed.append((subject, previous, record))
        self.changed.set()

    async def store(self, subject: str, *payloads: str) -> list[int]:
        """Append messages, each under its own text as the key."""
        return [
            await self.journal.append(subject, each.encode(), f"{subject}/{each}")
            for each in payloads
        ]


@asynccontextmanager
async def joined(url: str, *, count: int = 100, age: float = 60) -> AsyncIterator[Reader]:
    reader = Reader(make_backplane(url))
    try:
        await reader.start()
        await reader.open(count, age)
        yield reader
    finally:
        await reader.backplane.close()


def has_heard(reader: Reader, offset: int) -> bool:
    """Whether a message was the last that was heard of."""
    return reader.followed != [] and reader.followed[-1][2].offset == offset


async def until_back(reader: Reader) -> None:
    """Wait until the link is up once more, and open the journal again."""
    await reader.until(lambda: reader.backplane.state is LinkState.UP)
    await reader.open()


def test_what_is_appended_is_read_in_order_behind_an_offset(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url) as a:
            before = await a.journal.read("g.x", 0)
            assert before.records == ()
            assert (before.floor, before.last) == (0, 0)
            texts = [f"m{number}" for number in range(600)]
            offsets = []
            for each in texts:  # with another subject in between
                offsets += await a.store("g.x", each)
                await a.store("g.y", each)
            page = await a.journal.read("g.x", 0)
            assert [record.payload.decode() for record in page.records] == texts[-100:]
            assert [record.offset for record in page.records] == offsets[-100:]
            assert page.last == offsets[-1] + 1
            assert page.epoch == a.journal.epoch != ""
            times = [record.at for record in page.records]
            assert times == sorted(times)
            rest = await a.journal.read("g.x", offsets[-3])
            assert [record.payload for record in rest.records] == [b"m598", b"m599"]
            assert rest.floor == offsets[-3]
            assert (await a.journal.read("g.x", page.last)).records == ()
            assert (await a.journal.read("g", 0)).records == ()

    run(scenario)


def test_more_than_one_batch_is_read(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url, count=1000) as a:
            await asyncio.gather(*(a.store("g", str(number)) for number in range(700)))
            page = await a.journal.read("g", 0)
            assert sorted(int(record.payload) for record in page.records) == list(range(700))
            offsets = [record.offset for record in page.records]
            assert offsets == sorted(offsets)

    run(scenario)


def test_large_messages_are_read(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url) as a:
            payloads = [bytes([number]) * 1_000_000 for number in range(5)]
            for number, payload in enumerate(payloads):
                await a.journal.append("g", payload, str(number))
            page = await a.journal.read("g", 0)
            assert [record.payload for record in page.records] == payloads
            with pytest.raises(PayloadTooLarge):
                await a.journal.append("g", bytes(a.backplane.max_payload), "more")

    run(scenario)


def test_the_same_key_is_stored_once(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url) as a, joined(server.url) as b:
            first = await a.journal.append("g", b"x", "key")
            assert await a.journal.append("g", b"x", "key") == first
            assert await b.journal.append("g", b"x", "key") == first
            assert await b.journal.append("g", b"x", "another") > first
            page = await b.journal.read("g", 0)
            assert len(page.records) == 2

    run(scenario)


@pytest.mark.parametrize("key", ["", "a b", "a\r\nNats-Rollup: all", "ä", "k" * 201])
def test_a_key_that_cannot_be_a_header_is_refused(server: NatsServer, key: str) -> None:
    async def scenario() -> None:
        async with joined(server.url) as a:
            with pytest.raises(JournalError):
                await a.journal.append("g", b"x", key)
            with pytest.raises(SubjectError):
                await a.journal.append("g.>", b"x", "key")
            assert (await a.journal.read("g", 0)).records == ()

    run(scenario)


def test_followers_are_told_with_the_offset_before(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url) as a, joined(server.url) as b:
            await b.journal.follow(["g.x", "g.y"])
            await a.journal.follow(["g.x"])
            offsets = await a.store("g.x", "1", "2")
            other = await a.store("g.y", "3")
            offsets += await b.store("g.x", "4")
            await b.store("g.unheard", "5")
            await b.until(lambda: len(b.followed) == 4)
            await a.until(lambda: len(a.followed) == 3)  # its own too
            for each in (a, b):
                chain = [(p, r.offset) for subject, p, r in each.followed if subject == "g.x"]
                assert chain == list(zip([0, *offsets], offsets, strict=False))
            assert ("g.y", 0, other[0]) in [(s, p, r.offset) for s, p, r in b.followed]
            await b.journal.unfollow(["g.x", "g.never"])
            await a.store("g.x", "6")
            last = await a.store("g.y", "7")
            await b.until(lambda: b.followed[-1][2].offset == last[0])
            assert [r.payload for _, _, r in b.followed].count(b"6") == 0

    run(scenario)


def test_all_servers_see_one_order(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url, count=1000) as a, joined(server.url, count=1000) as b:
            for each in (a, b):
                await each.journal.follow(["g"])
            texts = [str(number) for number in range(100)]
            await asyncio.gather(
                *(a.store("g", f"a{text}") for text in texts),
                *(b.store("g", f"b{text}") for text in texts),
            )
            page = await b.journal.read("g", 0)
            stored = [(record.offset, record.payload) for record in page.records]
            assert len(stored) == 200
            for each in (a, b):
                await each.until(partial(has_heard, each, page.last))
                heard = [(record.offset, record.payload) for _, _, record in each.followed]
                missed = set(stored) - set(heard)
                assert heard == [each for each in stored if each not in missed]
                # What came too late, on a machine this busy, was told of by the one after it.
                before = 0
                for _, previous, record in each.followed:
                    between = [offset for offset, _ in missed if before < offset < record.offset]
                    assert previous == max([before, *between])
                    before = record.offset

    run(scenario)


def test_it_is_told_what_is_surely_complete(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url, count=5) as a:
            ours: list[int] = []
            others: list[int] = []
            for number in range(10):
                ours += await a.store("g", str(number))
                others += await a.store("other", str(number))
            rare = await a.store("rare", "1")

            async def sure(subject: str, after: int) -> bool:
                return (await a.journal.read(subject, after)).floor == after

            # Five are kept, and whoever had one of them has missed none. Whoever had the one before
            # has not either, but that one is gone, and with it the proof.
            assert [await sure("g", each) for each in ours] == [False] * 5 + [True] * 5
            page = await a.journal.read("g", ours[2])
            assert page.floor == ours[5] - 1
            assert [record.offset for record in page.records] == ours[5:]
            # So it is for an offset of another subject, as a joiner may have been given.
            assert [await sure("g", each) for each in others] == [False] * 4 + [True] * 6
            # Nothing of it was ever dropped, which shows as long as nothing that old was.
            assert await sure("rare", rare[0])
            assert await sure("rare", others[-1])
            assert await sure("never", others[-1])

    run(scenario)


def test_what_is_too_old_goes_and_is_missed(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url, age=2.0) as a:
            (old,) = await a.store("g", "old")
            await a.store("g", "older")
            async with asyncio.timeout(PATIENCE):
                while True:
                    page = await a.journal.read("g", old)
                    if not page.records:
                        break
                    await asyncio.sleep(0.05)
            assert page.floor == page.last > old
            (new,) = await a.store("g", "new")
            page = await a.journal.read("g", old)
            assert [record.payload for record in page.records] == [b"new"]
            assert page.floor > old
            assert (await a.journal.read("g", new)).floor == new

    run(scenario)


def test_limits_are_raised_and_never_lowered(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url, count=3, age=60) as a:
            epoch = a.journal.epoch
            early = await a.store("g", *"12345")
            async with joined(server.url, count=6, age=30) as b:
                assert b.journal.epoch == epoch
                await b.store("g", *"678")
                page = await a.journal.read("g", 0)
                assert [record.payload for record in page.records] == list(
                    map(str.encode, "345678")
                )
                async with joined(server.url, count=2, age=90) as c:
                    await c.store("g", "9")
                    page = await c.journal.read("g", early[0])
                    assert len(page.records) == 6
                    assert page.floor > early[0]  # the second was dropped, when fewer were kept

    run(scenario)


def test_beyond_the_limit_in_bytes_the_oldest_go_and_are_missed(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(f"{server.url}?max_bytes=2MiB") as a:
            (quiet,) = await a.store("quiet", "1")
            loud: list[int] = []
            for number in range(40):
                payload = bytes([number]) * (64 << 10)
                loud.append(await a.journal.append("loud", payload, f"{number}"))
            page = await a.journal.read("loud", loud[0])
            kept = [record.offset for record in page.records]
            assert kept == loud[-len(kept) :]  # the newest, without a gap
            assert 20 < len(kept) < 33  # which is what 2 MiB hold
            assert page.floor == kept[0] - 1
            # Who had one that is still kept has missed nothing; who was there before has.
            assert (await a.journal.read("loud", kept[0])).floor == kept[0]
            assert (await a.journal.read("quiet", quiet - 1)).floor > quiet

            # The larger limit counts, whoever comes with another one.
            larger, smaller = (f"{server.url}?max_bytes={limit}" for limit in ("4MiB", "2MiB"))
            async with joined(larger) as b, joined(smaller):
                for number in range(40, 60):
                    payload = bytes([number]) * (64 << 10)
                    await b.journal.append("loud", payload, f"{number}")
                page = await a.journal.read("loud", 0)
                assert len(page.records) == len(kept) + 20

    run(scenario)


def test_a_limit_in_bytes_that_the_broker_has_no_room_for_is_told(tmp_path: Path) -> None:
    async def scenario(url: str) -> None:
        peer = Reader(make_backplane(url))
        await peer.start()
        with pytest.raises(JournalError, match=r"no room for 1073741824 .* with \?max_bytes="):
            await peer.open()
        await peer.backplane.close()
        async with joined(f"{url}?max_bytes=32MiB") as reader:
            await reader.store("g", "1")

    small = f'jetstream {{ store_dir: "{tmp_path}", max_file_store: 64MB }}'
    with required_nats(configuration=small) as server:
        run(lambda: scenario(server.url))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_it_survives_the_end_of_the_broker(server: NatsServer, end: str) -> None:
    async def scenario() -> None:
        async with joined(server.url) as a, joined(server.url) as b:
            await b.journal.follow(["g"])
            epoch = a.journal.epoch
            stored = await a.store("g", *"123")
            getattr(server.process, end)()
            await a.until(lambda: a.backplane.state is LinkState.DOWN)
            await b.until(lambda: b.backplane.state is LinkState.DOWN)
            with pytest.raises(LinkDown):
                await a.store("g", "4")
            with pytest.raises(LinkDown):
                await a.journal.read("g", 0)
            with pytest.raises(LinkDown):
                await a.open()
            server.process.start()
            await until_back(a)
            await until_back(b)
            assert a.journal.epoch == b.journal.epoch == epoch
            page = await a.journal.read("g", 0)
            assert [record.offset for record in page.records] == stored
            assert await a.store("g", "3") == stored[-1:]
            stored += await a.store("g", "4")
            await b.until(lambda: b.followed[-1:] != [] and b.followed[-1][2].payload == b"4")
            assert b.followed[-1][1] == stored[-2]

    run(scenario)


def test_a_journal_made_anew_has_another_epoch(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url) as a:
            epoch = a.journal.epoch
            await a.store("g", "1")
            server.process.kill()
            shutil.rmtree(server.directory / "store")
            await a.until(lambda: a.backplane.state is LinkState.DOWN)
            server.process.start()
            await until_back(a)
            assert a.journal.epoch not in ("", epoch)
            page = await a.journal.read("g", 0)
            assert (page.epoch, page.records) == (a.journal.epoch, ())

    run(scenario)


def test_a_broker_that_hangs_is_not_waited_for_when_the_link_is_dropped(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url) as a:
            (stored,) = await a.store("g", "1")
            server.process.freeze()
            tasks = [
                asyncio.create_task(a.store("g", "2")),
                asyncio.create_task(a.journal.read("g", 0)),
            ]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await a.journal.read("g", 0)
            await a.backplane.restart("it hangs")
            for task in tasks:
                with pytest.raises(LinkDown):
                    await task
            server.process.thaw()
            await until_back(a)
            assert await a.store("g", "1") == [stored]

    run(scenario)


def test_of_too_many_bytes_the_oldest_are_left_out_and_the_floor_says_so(
    server: NatsServer,
) -> None:
    async def scenario() -> None:
        async with joined(server.url) as a:
            offsets = await a.store("g", *(f"{number}{'x' * 99}" for number in range(5)))
            other = await a.store("h", "h")
            everything = await a.journal.read("g", 0)
            assert await a.journal.read("g", 0, 500) == everything
            page = await a.journal.read("g", 0, 350)
            assert page.records == everything.records[-3:]
            assert (page.floor, page.last) == (offsets[1], other[0])
            page = await a.journal.read("g", offsets[1], 350)
            assert page.records == everything.records[-3:]
            assert page.floor == offsets[1]
            page = await a.journal.read("g", 0, 1)
            assert page.records == everything.records[-1:]
            assert (page.floor, page.last) == (offsets[3], other[0])

    run(scenario)


def test_without_jetstream_it_is_told_how_to_have_it() -> None:
    async def scenario(url: str) -> None:
        for address in (url, f"{url}?history=off"):
            peer = Reader(make_backplane(address))
            await peer.start()
            if address == url:
                with pytest.raises(JournalError, match="start nats-server with -js"):
                    await peer.open()
                assert peer.journal.epoch == ""
            else:
                assert peer.backplane.journal is None
            await peer.backplane.probe()
            await peer.backplane.close()

    with required_nats() as server:
        run(lambda: scenario(server.url))


def test_two_streams_do_not_know_each_other_and_another_use_is_refused(server: NatsServer) -> None:
    async def scenario() -> None:
        async with joined(server.url) as a, joined(f"{server.url}?stream=OTHER") as b:
            await b.journal.follow(["g"])
            await a.store("g", "1")
            assert (await b.journal.read("g", 0)).records == ()
            await b.store("g", "2")
            await b.until(lambda: b.followed != [])
            assert [record.payload for _, _, record in b.followed] == [b"2"]
        peer = Reader(make_backplane(f"{server.url}?stream=FULL&replicas=3"))
        await peer.start()
        with pytest.raises(JournalError, match="replicas"):
            await peer.open()
        await peer.backplane.close()

    run(scenario)
