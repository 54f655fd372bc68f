"""What users of a server do wrong, or in the worst moment: it is told, and harms nothing else."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from benchmark.brokers.nats import NatsServer as Broker
from benchmark.brokers.nats import nats_server
from benchmark.brokers.process import BrokerMissing
from foreman import NotRunning
from netclient.blocking import Client
from netserver import (
    ClusterConfig,
    Connection,
    GroupRules,
    History,
    Member,
    Outcome,
    Position,
    Recovery,
    Request,
    Server,
    Unanswered,
)
from netserver.cluster.lane import Lane
from netserver.cluster.sender import Budget
from tests.netserver.cluster.conftest import CONFIG, PATIENCE, Fleet, Guest, Site

_names = itertools.count()

HISTORY = GroupRules(history=History(count=10))
PRESENCE = GroupRules(presence=True)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Servers in one process: what goes wrong here is none of a broker's."""
    url = f"memory://misuse-{next(_names)}"
    with ExitStack() as stack:
        yield Fleet(lambda: url, stack)


def until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def fail(_: object) -> None:
    raise RuntimeError("a user's bug")


class Mute(Guest):
    """Never answers."""

    async def on_ask(self, message: Any) -> str:
        await asyncio.Event().wait()
        return ""


# ---------------------------------------------------------------- sending


def test_who_is_told_an_outcome_and_raises_does_not_make_the_server_mute(fleet: Fleet) -> None:
    a, b = fleet.server(), fleet.server()
    ben, _ = fleet.visit(b, "ben"), fleet.visit(fleet.server(kind=Mute), "mute")
    for name in ("nobody", "ben"):
        delivery = a.send_to(name, "x")
        delivery.then(fail)
        delivery.wait(PATIENCE)
    expired = a.ask("mute", "?", timeout=0)
    expired.then(fail)
    with pytest.raises(Unanswered, match="deadline"):
        expired.wait(PATIENCE)
    assert a.send_to("ben", "y").wait(PATIENCE) is Outcome.DELIVERED
    assert a.send_to("nobody", "z").wait(PATIENCE) is Outcome.NOBODY
    assert [ben.client.recv(PATIENCE) for _ in range(2)] == ["x", "y"]


def test_whoever_is_told_may_send_on(fleet: Fleet) -> None:
    a, b, c = fleet.server(), fleet.server(), fleet.server(rules=HISTORY)
    ben = fleet.visit(b, "ben")
    done = threading.Event()

    def go_on(_: object) -> None:
        a.send_to("ben", "2").then(lambda _: done.set())

    a.send_to("ben", "1").then(lambda _: c.publish("room/1", "x").then(go_on))
    assert done.wait(PATIENCE)
    assert [ben.client.recv(PATIENCE) for _ in range(2)] == ["1", "2"]


def test_names_that_cannot_be_take_none_of_the_room_that_there_is(fleet: Fleet) -> None:
    a = fleet.server()
    fleet.server()
    for group in ("", "x" * 2000, "\ud800"):
        with pytest.raises(ValueError, match=r"name|surrogates"):
            a.broadcast("hello", group=group)
    for identity in ("", "x" * 2000, "\ud800"):
        with pytest.raises(ValueError, match=r"name|surrogates"):
            a.send_to(identity, "hello")
    with pytest.raises(TypeError):
        a.broadcast("hello", group=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="surrogates"):
        a.send_to("ben", "\ud800")
    a.send_to("nobody", "x").wait(PATIENCE)
    until(lambda: a.statistics().cluster.waiting == 0)


@pytest.mark.parametrize(
    "timeout",
    [None, "1", float("nan"), float("inf"), -1, True, pytest.param(10**400, id="no float")],
)
def test_a_timeout_that_is_none_is_told_at_once(fleet: Fleet, timeout: Any) -> None:
    a = fleet.server()
    fleet.server()
    for call in (a.send_to, a.ask):
        with pytest.raises((TypeError, ValueError), match="timeout"):
            call("ben", "x", timeout=timeout)
    assert a.send_to("ben", "x").wait(PATIENCE) is Outcome.NOBODY
    assert a.statistics().cluster.waiting == 0


def test_ids_that_cannot_be_are_told(fleet: Fleet) -> None:
    a = fleet.server(rules=HISTORY)
    for id in ("", "x" * 257, "\ud800"):
        with pytest.raises(ValueError, match=r"not empty|key|surrogates"):
            a.publish("room/1", "x", id=id)
    with pytest.raises(TypeError):
        a.publish("room/1", "x", id=5)  # type: ignore[arg-type]
    assert a.publish("room/1", "x", id="0").wait(PATIENCE) is Outcome.QUEUED


class Odd(Guest):
    """Answers with what is no message, or cannot go over a wire."""

    def on_ask(self, message: Any) -> Any:
        return {"none": None, "surrogates": "\ud800", "long": "x" * 2**20}[message]


@pytest.mark.parametrize("question", ["none", "surrogates", "long"])
def test_an_answer_that_cannot_be_sent_is_told_to_who_asked(fleet: Fleet, question: str) -> None:
    a, b = fleet.server(), fleet.server(kind=Odd)
    ben = fleet.visit(b, "ben")
    with pytest.raises(Unanswered) as told:
        a.ask("ben", question, timeout=PATIENCE).wait(PATIENCE)
    assert "deadline" not in str(told.value)
    assert a.send_to("ben", "still here").wait(PATIENCE) is Outcome.DELIVERED
    assert ben.client.recv(PATIENCE) == "still here"


# ---------------------------------------------------------------- history


def test_a_stamp_that_makes_no_message_or_raises_costs_only_itself(fleet: Fleet) -> None:
    stamps: list[Any] = [lambda _: None, fail]
    for stamp in stamps:
        a = fleet.server(rules=GroupRules(history=History(), stamp=stamp))
        ann = fleet.visit(a, "ann")
        ann.client.send(json.dumps(["join", "room/1", None, None]))
        {ann.client.recv(PATIENCE), ann.client.recv(PATIENCE)}
        assert a.publish("room/1", "x").wait(PATIENCE) is Outcome.QUEUED
        assert ann.client.recv(PATIENCE) == "x"
        until(lambda: a.statistics().cluster.waiting == 0)  # noqa: B023
        a.close()


def test_a_framing_that_cannot_carry_a_message_costs_only_its_own_connections(
    fleet: Fleet,
) -> None:
    a, b = fleet.server(rules=HISTORY), fleet.server(rules=HISTORY)
    listener = b.listen("tcp://127.0.0.1:0", Guest, framing="lines")
    ben = fleet.visit(b, "ben")
    with Client(f"tcp://127.0.0.1:{listener.port}", framing="lines", reconnect=None) as lines:
        until(lambda: len(b.connections) == 2)
        for group in ("room/1", "plain"):
            for connection in b.connections:
                connection.join(group)
        assert ben.read()[0] == json.loads(lines.recv(PATIENCE))[0] == "recovery"
        a.broadcast("one\nline more", group=None)
        a.broadcast("one", group=None)
        assert a.publish("room/1", "two\nlines").wait(PATIENCE) is Outcome.QUEUED
        assert a.publish("room/1", "two").wait(PATIENCE) is Outcome.QUEUED
        heard = {ben.client.recv(PATIENCE) for _ in range(4)}
        assert heard == {"one\nline more", "one", "two\nlines", "two"}
        assert {lines.recv(PATIENCE) for _ in range(2)} == {b"one", b"two"}


def test_positions_that_clients_make_up_do_not_hold_up_others(fleet: Fleet) -> None:
    a = fleet.server(rules=HISTORY)
    a.publish("room/1", "x").wait(PATIENCE)
    ann = fleet.visit(a, "ann")
    ann.client.send(json.dumps(["join", "room/1", None, None]))
    epoch = next(told for told in (ann.read(), ann.read()) if told[0] == "recovery")[3]
    offsets: list[Any] = ["x", None, [], 1.5]
    for offset in offsets:
        bad = fleet.visit(a, "bad")
        bad.client.send(json.dumps(["join", "room/1", None, [epoch, offset]]))
        with pytest.raises(Exception, match="1011"):
            bad.client.recv(PATIENCE)
    for offset in (-1, 2**80):
        odd = fleet.visit(a, "odd")
        odd.client.send(json.dumps(["join", "room/1", None, [epoch, offset]]))
        recovery = next(told for told in (odd.read(), odd.read()) if told[0] == "recovery")
        assert recovery[2] is False


class Slow(Guest):
    """Takes its time to recover, or fails to."""

    go_on: asyncio.Event

    async def on_recovery(self, recovery: Recovery) -> None:  # type: ignore[override]
        self.send("recovering")
        self.go_on = asyncio.Event()
        await self.go_on.wait()
        if self.identity == "bad":
            raise RuntimeError("a user's bug")
        self.send("recovered")


def test_what_is_said_while_somebody_recovers_comes_behind_and_bounded(fleet: Fleet) -> None:
    a = fleet.server(rules=GroupRules(history=History(count=5)), kind=Slow)
    ben, bad = fleet.visit(a, "ben"), fleet.visit(a, "bad")
    connections = {each.identity: each for each in a.connections}
    for visitor in (ben, bad):
        visitor.client.send(json.dumps(["join", "room/1", None, None]))
        told = {visitor.client.recv(PATIENCE) for _ in range(2)}
        assert "recovering" in told
    for number in range(2500):
        last = a.publish("room/1", str(number))
    assert last.wait(PATIENCE) is Outcome.QUEUED

    def go_on(identity: str) -> None:
        connection = connections[identity]
        assert isinstance(connection, Slow)
        assert connection.node is not None
        connection.node.loop.call_soon_threadsafe(connection.go_on.set)

    go_on("bad")
    with pytest.raises(Exception, match="1011"):
        bad.client.recv(PATIENCE)
    go_on("ben")
    # So much was said meanwhile that it is served anew, once, however much that was.
    assert [ben.client.recv(PATIENCE) for _ in range(2)] == ["recovered", "recovering"]
    a.publish("room/1", "end").wait(PATIENCE)
    go_on("ben")
    assert [ben.client.recv(PATIENCE) for _ in range(2)] == ["recovered", "end"]


class Late(Connection):
    """Joins while it is not let in yet, and may not be."""

    called: list[str]

    async def on_connect(self, request: Request) -> None:
        self.called = []
        self.identity = request.path.strip("/")
        self.join("room/1")
        site = self.server
        assert isinstance(site, Site)
        site.changes.put(("connecting", [self.identity], []))
        await asyncio.sleep(0.05)
        if self.identity == "bad":
            raise RuntimeError("not today")

    def on_recovery(self, recovery: Recovery) -> None:
        assert self.state.value == "open"
        self.send(f"recovered {len(recovery.entries)}")


def test_who_joins_before_it_is_open_is_recovered_when_it_is(fleet: Fleet) -> None:
    a = fleet.server(rules=HISTORY, kind=Late)
    a.publish("room/1", "x").wait(PATIENCE)
    with pytest.raises(Exception, match="500"):
        fleet.visit(a, "bad")
    ben = fleet.visit(a, "ben")
    assert ben.client.recv(PATIENCE) == "recovered 1"
    a.publish("room/1", "y")
    assert ben.client.recv(PATIENCE) == "y"
    assert len(a.groups) == 1


# ---------------------------------------------------------------- presence


def test_what_is_told_of_a_member_is_what_it_was_when_it_joined(fleet: Fleet) -> None:
    a, b = fleet.server(rules=PRESENCE, watched=["room/1"]), fleet.server(rules=PRESENCE)
    fleet.visit(b, "ben")
    (connection,) = b.connections
    mood: dict[str, Any] = {"mood": "good", "at": (1, 2)}
    connection.join("room/1", mood)
    until(lambda: [m.data for m in a.presence("room/1")] == [{"mood": "good", "at": [1, 2]}])
    mood["mood"] = "bad"
    assert b.presence("room/1")[0].data == {"mood": "good", "at": [1, 2]}
    connection.join("room/1", mood)
    until(lambda: [m.data["mood"] for m in a.presence("room/1")] == ["bad"])


def test_who_is_somebody_else_now_is_so_everywhere(fleet: Fleet) -> None:
    a, b = fleet.server(rules=PRESENCE, watched=["room/1"]), fleet.server(rules=PRESENCE)
    fleet.visit(b, "ben").join("room/1")
    until(lambda: [m.identity for m in a.presence("room/1")] == ["ben"])
    (connection,) = b.connections
    assert connection.node is not None
    for identity in ("bob", None):
        identified = connection.identify(identity)
        asyncio.run_coroutine_threadsafe(identified, connection.node.loop).result(PATIENCE)
        for site in (a, b):
            until(lambda: [m.identity for m in site.presence("room/1")] == [identity])  # noqa: B023


def test_data_that_is_nested_too_deeply_is_told(fleet: Fleet) -> None:
    a = fleet.server(rules=PRESENCE)
    fleet.visit(a, "ann")
    (connection,) = a.connections
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(ValueError, match="deep"):
        connection.join("room/1", deep)
    assert a.presence("room/1") == []


def test_the_longest_names_and_data_of_many_are_told(fleet: Fleet) -> None:
    a = fleet.server(rules=PRESENCE, watched=["room/1"])
    b = fleet.server(rules=PRESENCE)
    for number in range(150):
        fleet.visit(b, f"{number}")
    for connection in b.connections:
        connection.identity = f"{connection.identity}" + "\x01" * 1000
        connection.join("room/1", "x" * 4094)
    until(lambda: len(a.presence("room/1")) == 150)


class Curious(Site):
    """Does what it should not where it is told of presence."""

    def on_presence(self, group: str, came: tuple[Member, ...], went: tuple[Member, ...]) -> None:
        super().on_presence(group, came, went)
        for member in came:
            for connection in self.connections:
                if connection.id == member.id:
                    connection.leave(group)
                    connection.join("room/2", "went on")
        try:
            self.close()
        except RuntimeError as error:
            self.changes.put((str(error), [], []))
        raise RuntimeError("a user's bug")


def test_on_presence_may_join_and_leave_and_not_close(fleet: Fleet) -> None:
    a = fleet.server(rules=PRESENCE, watched=["room/2"])
    a.__class__ = Curious
    ann = fleet.visit(a, "ann")
    ann.client.send(json.dumps(["join", "room/1", None, None]))
    changes = [a.changes.get(timeout=PATIENCE)[0] for _ in range(4)]
    assert changes[0] == "room/1"
    assert "cannot wait" in changes[1]
    until(lambda: a.presence("room/2") and not a.presence("room/1"))


# ---------------------------------------------------------------- from start to end


def test_what_was_published_in_the_last_moment_is_settled(fleet: Fleet) -> None:
    a = fleet.server(rules=HISTORY)
    fleet.server(rules=HISTORY)
    deliveries = [a.publish(f"room/{number}", "x") for number in range(20)]
    deliveries += [a.send_to("nobody", "x", timeout=60) for _ in range(20)]
    a.close()
    outcomes = {delivery.wait(PATIENCE) for delivery in deliveries}
    assert outcomes <= {Outcome.QUEUED, Outcome.NOBODY, Outcome.UNKNOWN}
    assert a.statistics().cluster.waiting == 0
    for delivery in (a.send_to("ben", "x"), a.publish("room/1", "x")):
        assert delivery.wait(PATIENCE) is Outcome.REFUSED
    a.broadcast("nobody hears")
    with pytest.raises(Unanswered):
        a.ask("ben", "?").wait(PATIENCE)
    assert a.statistics().cluster.waiting == 0


def test_a_server_that_was_closed_does_not_start(fleet: Fleet) -> None:
    site = Site(f"memory://misuse-{next(_names)}", CONFIG)
    site.close()
    site.close()
    with pytest.raises(NotRunning):
        site.start()
    with pytest.raises(NotRunning):  # as when another thread closes it meanwhile
        site.cluster.start()


def test_starting_twice_and_with_blocks_are_well() -> None:
    url = f"memory://misuse-{next(_names)}"
    with Site(url, CONFIG) as site, Server(cluster=url) as other:
        site.start()
        other.start()
        assert site.statistics().cluster.link_up
    assert not site.statistics().cluster.link_up
    assert not any(thread.name == "cluster" for thread in threading.enumerate())


def test_a_lane_that_cannot_begin_still_does_what_was_posted() -> None:
    calls: list[int] = []
    ended = threading.Event()

    async def begin() -> bool:
        raise OSError("a library's bug")

    async def end() -> None:
        ended.set()

    lane = Lane("test", asyncio.new_event_loop, begin, end)
    assert lane.post(calls.append, 1)
    assert ended.wait(PATIENCE)
    assert calls == [1]
    assert lane.stop(PATIENCE)
    assert not lane.start()


def test_a_lane_for_which_there_is_no_thread_begins_with_the_next_call() -> None:
    calls: list[str] = []

    async def begin() -> bool:
        return True

    async def end() -> None:
        pass

    lane = Lane("test", asyncio.new_event_loop, begin, end)
    budget = Budget(10_000, lane.lock)
    before = threading.stack_size(1 << 50)  # more than any process can have
    try:
        with pytest.raises(RuntimeError, match="thread"):
            lane.post(calls.append, "first")
        with pytest.raises(RuntimeError, match="thread"):
            lane.gather(calls.extend, "first", budget, 5)
    finally:
        threading.stack_size(before)
    assert budget.used == 0
    assert lane.post(calls.append, "second")
    assert lane.stop(PATIENCE)
    assert calls == ["second"], "who was told that it failed may have done it again"


@pytest.fixture
def broker() -> Iterator[Broker]:
    try:
        with nats_server(jetstream=True) as started:
            yield started
    except BrokerMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("stored", [True, False])
def test_closing_while_the_broker_hangs_and_dies_settles_everything(
    broker: Broker, stored: bool
) -> None:
    a = Site(broker.url, CONFIG)
    a.groups.set_rules("room/*", HISTORY)
    a.start()
    broker.process.freeze()
    delivery = a.publish("room/1", "x") if stored else a.send_to("ben", "x", timeout=60)
    closing = threading.Thread(target=a.close)
    closing.start()
    until(lambda: a.cluster._lane._closed)
    broker.process.kill()  # while it waits for the last words to be taken
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert delivery.wait(PATIENCE) is Outcome.UNKNOWN
    assert a.statistics().cluster.waiting == 0
    assert not any(thread.name == "cluster" for thread in threading.enumerate())


def test_a_server_is_whole_when_its_broker_comes_later(broker: Broker) -> None:
    broker.process.kill()
    with ExitStack() as stack:
        fleet = Fleet(lambda: broker.url, stack)
        a, b = fleet.server(rules=GroupRules(history=History(), presence=True)), fleet.server()
        ann = fleet.visit(a, "ann")
        ann.client.send(json.dumps(["join", "room/1", None, None]))
        assert ann.read() == ["joined", "room/1"]
        delivery = a.publish("room/1", "early")
        assert delivery.outcome is None
        broker.process.start()
        assert delivery.wait(PATIENCE) is Outcome.QUEUED
        recovery = ann.read()
        assert recovery[-1] == ["early"] or ann.client.recv(PATIENCE) == "early"
        answer = b.ask("ann", "?", timeout=PATIENCE)
        assert answer.wait(PATIENCE) == "ann says ?"


# ---------------------------------------------------------------- identities


def test_an_identity_that_cannot_be_is_the_clients_fault(fleet: Fleet) -> None:
    a = fleet.server()
    with pytest.raises(Exception, match="400"):
        fleet.visit(a, "x" * 1025)
    assert a.statistics().cluster.identities == 0


def test_who_is_cancelled_while_it_identifies_keeps_what_it_had(fleet: Fleet) -> None:
    config = ClusterConfig(identities="refuse", heartbeat=0.2, dead_after=1.0)
    a, b = fleet.server(config=config), fleet.server(config=config)
    fleet.visit(a, "ann")
    ben = fleet.visit(b, "ben")
    (connection,) = b.connections
    assert connection.node is not None

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await connection.identify("bob")

    asyncio.run_coroutine_threadsafe(give_up(), connection.node.loop).result(PATIENCE)
    assert connection.identity == "ben"
    assert b.statistics().cluster.identities == 1
    assert a.send_to("ben", "still").wait(PATIENCE) is Outcome.DELIVERED
    assert ben.client.recv(PATIENCE) == "still"
    fleet.visit(a, "bob")  # nobody holds it


def test_what_is_too_long_for_others_is_told_before_anybody_gets_it(fleet: Fleet) -> None:
    a = fleet.server()
    ben = fleet.visit(a, "ben")
    for message in ("x" * (5 << 20), b"x" * (5 << 20)):
        with pytest.raises(ValueError, match="bytes are more than the"):
            a.send_to("ben", message)
    assert a.send_to("ben", "short").outcome is Outcome.DELIVERED
    assert ben.client.recv(PATIENCE) == "short"


def test_who_asks_after_the_end_is_told_why_there_is_no_answer(fleet: Fleet) -> None:
    a, b = fleet.server(), fleet.server()
    fleet.visit(b, "ben")
    a.close()
    with pytest.raises(Unanswered, match="this server has ended"):
        a.ask("ben", "?").wait(PATIENCE)


class Puller(Connection):
    """Pulls its messages, and takes part in the cluster all the same."""

    def on_connect(self, request: Request) -> None:
        self.identity = "puller"

    async def handle(self) -> None:
        self.join("room/1")
        async for message in self:
            self.send(message)

    async def on_recovery(self, recovery: Recovery) -> None:
        await asyncio.sleep(0)
        self.send(f"{[entry.message for entry in recovery.entries]}")

    async def on_ask(self, message: Any) -> Any:
        await asyncio.sleep(0)
        return f"pulled {message}"


def test_one_that_pulls_its_messages_takes_part(fleet: Fleet) -> None:
    a, b = [fleet.server(rules=GroupRules(history=History())) for _ in range(2)]
    assert a.publish("room/1", "before").wait(PATIENCE) is Outcome.QUEUED
    port = a.listen("ws://127.0.0.1:0", Puller).port
    with Client(f"ws://127.0.0.1:{port}") as client:
        assert client.recv(PATIENCE) == "['before']"
        a.publish("room/1", "live")
        assert client.recv(PATIENCE) == "live"
        client.send("echo")
        assert client.recv(PATIENCE) == "echo"
        assert b.ask("puller", "?").wait(PATIENCE) == "pulled ?"


def test_what_comes_too_late_or_has_no_use_is_told(fleet: Fleet) -> None:
    early = Site("memory://early", CONFIG)
    with pytest.raises(ValueError, match="do not ask for presence"):
        early.groups.watch("room/1")
    early.groups.set_rules("room/*", PRESENCE)
    early.groups.watch("room/1")
    early.close()
    a = fleet.server(rules=HISTORY)
    with pytest.raises(RuntimeError, match="before the server is started"):
        a.groups.set_rules("late/*", PRESENCE)
    with pytest.raises(RuntimeError, match="from the start"):
        a.groups.watch("late")
    fleet.visit(a, "ann")
    (connection,) = a.connections
    with pytest.raises(ValueError, match="no history"):
        connection.join("plain", since=Position("e", 1))
    assert connection.join("room/1", since=Position("e", 1))
