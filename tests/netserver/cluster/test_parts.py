"""The parts of the cluster's thread, each by itself, on a real loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

import pytest

from netserver import ClusterConfig, Delivery, Groups, Outcome, Position
from netserver.backplane.memory import MemoryBackplane
from netserver.backplane.url import BackplaneUrl
from netserver.cluster.deadlines import Deadlines
from netserver.cluster.frames import Kind, decode, encode_record
from netserver.cluster.identities import Identities
from netserver.cluster.interest import Interest
from netserver.cluster.lane import Lane
from netserver.cluster.router import Router
from netserver.cluster.sender import FRAME, Budget, Sender
from netserver.cluster.subjects import Subjects, token

PATIENCE = 10.0

# ---------------------------------------------------------------- Delivery


def test_a_delivery_is_settled_once_and_told_to_all_who_wait() -> None:
    delivery = Delivery()
    told: list[Outcome] = []
    delivery.then(told.append)
    waiting = threading.Thread(target=lambda: told.append(delivery.wait(PATIENCE)))
    waiting.start()
    assert delivery.outcome is None
    assert delivery.settle(Outcome.QUEUED)
    assert not delivery.settle(Outcome.NOBODY)
    waiting.join(PATIENCE)
    delivery.then(told.append)
    assert told == [Outcome.QUEUED] * 3
    assert delivery.done
    assert "queued" in repr(delivery)


def test_waiting_for_it_has_a_limit() -> None:
    with pytest.raises(TimeoutError):
        Delivery().wait(0.01)


async def test_it_is_awaited_on_a_loop_whoever_settles_it() -> None:
    delivery = Delivery()
    thread = threading.Thread(target=delivery.settle, args=(Outcome.DELIVERED,))
    asyncio.get_running_loop().call_later(0.01, thread.start)
    async with asyncio.timeout(PATIENCE):
        assert await delivery is Outcome.DELIVERED
        assert await delivery is Outcome.DELIVERED
    thread.join()


async def test_who_is_cancelled_while_waiting_does_no_harm() -> None:
    delivery = Delivery()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await delivery
    delivery.settle(Outcome.DELIVERED)
    assert await delivery is Outcome.DELIVERED


# ---------------------------------------------------------------- Deadlines


async def test_what_waits_expires_in_its_turn_and_only_once() -> None:
    expired: list[str] = []
    done = asyncio.Event()

    def expire(_: int, thing: str) -> None:
        expired.append(thing)
        if len(expired) == 2:
            done.set()

    deadlines: Deadlines[str] = Deadlines(expire)
    late = deadlines.add("late", 0.2)
    taken = deadlines.add("taken", 0.05)
    deadlines.add("early", 0.05)
    hurried = deadlines.add("hurried", 60.0)
    deadlines.hurry(hurried, 0.01)
    assert deadlines.take(taken) == "taken"
    assert deadlines.take(taken) is None
    async with asyncio.timeout(PATIENCE):
        await done.wait()
    assert set(expired) == {"hurried", "early"}
    assert deadlines.look_at(late) == "late"
    assert deadlines.take_all() == [(late, "late")]
    assert len(deadlines) == 0


async def test_those_that_were_answered_leave_nothing_behind() -> None:
    deadlines: Deadlines[int] = Deadlines(lambda *_: None)
    for number in range(10_000):
        deadlines.take(deadlines.add(number, 60.0))
    assert sum(map(len, deadlines._queues.values())) < 3
    deadlines.take_all()


# ---------------------------------------------------------------- Lane


def test_a_lane_begins_when_needed_and_keeps_the_order() -> None:
    began, ended, done = threading.Event(), threading.Event(), threading.Event()
    calls: list[int] = []

    async def begin() -> bool:
        began.set()
        return True

    async def end() -> None:
        ended.set()

    lane = Lane("test", asyncio.new_event_loop, begin, end)
    assert not began.is_set()
    for number in range(1000):
        assert lane.post(calls.append, number)
    lane.post(lambda: 1 / 0)  # logged, and nothing else is harmed
    lane.post(done.set)
    assert done.wait(PATIENCE)
    assert calls == list(range(1000))
    lane.post(calls.append, 1000)
    assert lane.stop(PATIENCE)
    assert calls[-1] == 1000
    assert ended.is_set()
    assert not lane.post(calls.append, 1001)


def test_a_lane_that_was_never_needed_ends_at_once() -> None:
    async def begin() -> bool:
        raise AssertionError

    async def end() -> None:
        raise AssertionError

    lane = Lane("test", asyncio.new_event_loop, begin, end)
    assert lane.stop(0)
    assert not lane.post(print)


# ---------------------------------------------------------------- Sender


async def test_records_for_one_subject_go_out_together_within_a_limit() -> None:
    name = BackplaneUrl.parse("memory://sender")
    mine, other = MemoryBackplane(name), MemoryBackplane(name)
    got: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    await mine.start(lambda *_: None, lambda *_: None)
    await other.start(lambda *frame: got.put_nowait(frame), lambda *_: None)
    await other.subscribe(["s", "t"])
    budget = Budget(10_000_000)
    sender = Sender(mine, ClusterConfig(), bytes(8), budget, Subjects("p"))
    body = bytes(1000)
    for number in range(200):
        assert budget.take(len(body))
        sender.add("s", "S", encode_record(Kind.GROUP, body, number=number), charged=len(body))
    sender.add("t", "T", encode_record(Kind.BEAT))
    unheard: list[int] = []
    sender.add("nobody", "N", encode_record(Kind.DIRECT), unheard=unheard.append, number=7)
    task = asyncio.create_task(sender.run())
    async with asyncio.timeout(PATIENCE):
        await sender.flush()
        frames = [await got.get() for _ in range(sender.frames - 1)]
    task.cancel()
    assert unheard == [7]
    assert budget.used == 0
    numbers = [
        record.number for subject, f in frames if subject == "s" for record in decode(f).records
    ]
    assert numbers == list(range(200))
    assert all(len(frame) <= FRAME + 100 for _, frame in frames)
    assert len(frames) == 5
    # The other subject's turn came before the rest of the first one's.
    assert [subject for subject, _ in frames].index("t") == 1
    await mine.close()
    await other.close()


async def test_a_message_that_cannot_be_sent_takes_none_of_its_batch_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def begin() -> bool:
        return True

    async def end() -> None:
        pass

    lane = Lane("test", asyncio.new_event_loop, begin, end)  # which nobody has reason to begin
    budget, subjects = Budget(10_000), Subjects("p")
    sender = Sender(MemoryBackplane(), ClusterConfig(), bytes(8), budget, subjects)
    router = Router(lane, sender, subjects, Identities(), Groups(), False)
    batch = []
    for identity in ("a", "\ud800", "b"):  # the second should never have come so far
        assert budget.take(5)
        batch.append((identity, b"hello", Delivery(), 60.0, 5))
    left = 2 * budget.used // 3
    router.send(batch)
    outcomes = [delivery.outcome for _, _, delivery, _, _ in batch]
    assert outcomes == [None, Outcome.REFUSED, None]
    assert [len(sender._waiting[subjects.identity(each)].records) for each in "ab"] == [1, 1]
    assert budget.used == left
    assert sender.dropped == 1
    assert r"a message for '\ud800' is not sent" in caplog.text
    router.give_up()


def test_a_budget_is_a_limit() -> None:
    budget = Budget(1000)
    assert budget.take(100)
    assert budget.take(200)
    assert not budget.take(300)
    assert budget.refused == 1
    budget.give_back(300, 2)
    assert budget.used == 0
    assert budget.take(300)


# ---------------------------------------------------------------- Interest


class Broker:
    """Notes what is subscribed to, and lets it take time."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.done = asyncio.Event()

    async def subscribe(self, subjects: Iterable[str]) -> None:
        self.calls.append(("+", list(subjects)))
        await asyncio.sleep(0.01)

    async def unsubscribe(self, subjects: Iterable[str]) -> None:
        self.calls.append(("-", list(subjects)))
        self.done.set()


async def test_what_is_wanted_is_subscribed_to_once_and_some_time_longer() -> None:
    broker = Broker()
    interest = Interest(broker.subscribe, broker.unsubscribe)
    task = asyncio.create_task(interest.run())
    interest.unwant("early")  # told in the wrong order by two threads
    interest.want("early")
    for subject in ("a", "b", "a"):
        interest.want(subject)
    async with asyncio.timeout(PATIENCE):
        await interest.ready("a")
        await interest.ready("b")
        await interest.ready("never wanted")
        assert broker.calls == [("+", ["a", "b"])]
        interest.unwant("a")
        interest.unwant("b")
        interest.want("b")  # comes back within the time
        interest.unwant("a")
        await broker.done.wait()
    task.cancel()
    assert broker.calls == [("+", ["a", "b"]), ("-", ["a"])]
    assert len(interest) == 1


# ---------------------------------------------------------------- subjects


def test_subjects_show_plain_names_and_stand_for_any() -> None:
    subjects = Subjects("p")
    assert subjects.identity("ben-1") == "p.c.ben-1"
    assert subjects.group("ben-1") == "p.g.ben-1"
    assert subjects.server(b"\1" * 8) == "p.s.0101010101010101"
    odd = token("a.b")
    assert odd.startswith("~")
    assert len(odd) == 44
    assert token("~" + odd) != odd
    assert token("x" * 64) == "x" * 64
    assert token("x" * 65).startswith("~")


def test_a_position_is_compared_by_value() -> None:
    assert Position("e", 1) == Position("e", 1)
