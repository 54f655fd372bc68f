"""RabbitMQ: what it refuses, its end and its return, and what is done while it hangs."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias
from weakref import WeakSet

import pytest
import uvloop
from pamqp.base import Frame
from pamqp.commands import Exchange

from netserver.backplane import (
    BrokerRefuses,
    LinkDown,
    LinkState,
    make_backplane,
)
from netserver.backplane.amqp.link import ASK_AFTER, MOST_OPEN, Link, Login
from tests.netserver.backplane.brokers import SharedRabbitMq, breakable_rabbitmq
from tests.netserver.backplane.conftest import PATIENCE, Peer

_names = itertools.count()

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


# Where it depends on how the loop writes, closes and fails.
on_both_loops = pytest.mark.parametrize("run", ["asyncio", "uvloop"], indirect=True)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine; on uvloop, if the test does not ask for both loops."""
    is_plain = getattr(request, "param", "uvloop") == "asyncio"
    factory = asyncio.new_event_loop if is_plain else uvloop.new_event_loop

    def run(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)

    return run


@pytest.fixture
def shared() -> Iterator[SharedRabbitMq]:
    with breakable_rabbitmq() as shared:
        yield shared


class Peers(AsyncExitStack):
    """Peers on one exchange of their own; closed in the end."""

    def __init__(self, url: str, options: str = "") -> None:
        super().__init__()
        self.exchange = f"test-{next(_names)}"
        self._url = f"{url}?exchange={self.exchange}{options}"

    def make(self) -> Peer:
        peer = Peer(make_backplane(self._url))
        self.push_async_callback(peer.backplane.close)
        return peer

    async def join(self) -> Peer:
        peer = self.make()
        await peer.start()
        return peer


async def until(peer: Peer, state: LinkState) -> None:
    await peer.until(lambda: peer.backplane.state is state)


async def until_heard(source: Peer, target: Peer, subject: str) -> None:
    """Publish until it arrives: a publisher may be up earlier than who subscribes."""
    async with asyncio.timeout(PATIENCE):
        while (subject, b"again") not in target.received:
            await until(source, LinkState.UP)
            try:
                await source.backplane.publish(subject, b"again")
                await source.backplane.probe()
            except LinkDown:
                continue


async def evaluate(shared: SharedRabbitMq, expression: str) -> None:
    await asyncio.to_thread(shared.broker.evaluate, expression)


async def set_memory_limit(shared: SharedRabbitMq, size: str) -> None:
    limit = f'{{absolute, "{size}"}}'
    await evaluate(shared, f"ok = vm_memory_monitor:set_vm_memory_high_watermark({limit})")


async def change_password(shared: SharedRabbitMq, password: str) -> None:
    words = f'<<"guest">>, <<"{password}">>, <<"test">>'
    await evaluate(shared, f"ok = rabbit_auth_backend_internal:change_password({words})")


@asynccontextmanager
async def raw_link(shared: SharedRabbitMq) -> AsyncIterator[Link]:
    """A connection for what the backplane does not do."""
    link = Link(lambda *_: None, lambda _: None, 1024)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: link, "127.0.0.1", shared.broker.port)
    await link.open(Login("guest", "guest", "/", 10))
    yield link
    await link.close()


# What the broker refuses.


@pytest.mark.parametrize(
    ("login", "path", "reason"),
    [
        ("guest:wrong", "", "ACCESS_REFUSED"),
        ("nobody:guest", "", "ACCESS_REFUSED"),
        ("guest:guest", "/nowhere", "NOT_ALLOWED"),
    ],
)
def test_a_login_that_is_refused(
    run: Run, shared: SharedRabbitMq, login: str, path: str, reason: str
) -> None:
    async def main() -> None:
        peer = Peer(make_backplane(f"amqp://{login}@127.0.0.1:{shared.broker.port}{path}"))
        with pytest.raises(BrokerRefuses, match=reason):
            await peer.start()
        await peer.backplane.close()
        assert peer.states == []

    run(main())


def test_an_exchange_of_another_kind_is_refused(run: Run, shared: SharedRabbitMq) -> None:
    async def main() -> None:
        async with Peers(shared.broker.url) as peers, raw_link(shared) as link:
            await link.ask([Exchange.Declare(exchange=peers.exchange, exchange_type="fanout")])
            with pytest.raises(BrokerRefuses, match="PRECONDITION_FAILED"):
                await peers.join()
            await link.ask([Exchange.Delete(exchange=peers.exchange)])

    run(main())


# A broker that is there.


def test_the_queue_goes_with_its_server(run: Run, shared: SharedRabbitMq) -> None:
    async def ask(question: Frame) -> int | None:
        async with raw_link(shared) as link:
            try:
                await link.ask([question])
            except LinkDown:
                return link.code
        return 0

    async def main() -> None:
        async with Peers(shared.broker.url) as peers:
            peer = await peers.join()
            await peer.backplane.subscribe(["s"])
            bound = Exchange.Delete(exchange=peers.exchange, if_unused=True)
            assert await ask(bound) == 406  # it is in use
            await peer.backplane.close()
            assert await ask(bound) == 0

    run(main())


@on_both_loops
def test_what_was_published_before_closing_arrives(run: Run, shared: SharedRabbitMq) -> None:
    async def main() -> None:
        async with Peers(shared.broker.url) as peers:
            a, b = await peers.join(), await peers.join()
            await b.backplane.subscribe(["s"])
            for number in range(200):
                await a.backplane.publish("s", bytes([number]))
            await a.backplane.close()
            assert await b.until_received(200) == [("s", bytes([n])) for n in range(200)]

    run(main())


def test_callbacks_of_what_was_heard_are_let_go(run: Run, shared: SharedRabbitMq) -> None:
    class Callback:
        def __call__(self) -> None:
            raise AssertionError("it was heard")

    async def main() -> None:
        async with Peers(shared.broker.url) as peers:
            a, b = await peers.join(), await peers.join()
            await b.backplane.subscribe(["s"])
            alive: WeakSet[Callback] = WeakSet()
            most, count = 0, MOST_OPEN + 2 * ASK_AFTER
            for _ in range(count):
                callback = Callback()
                alive.add(callback)
                await a.backplane.publish("s", b"x", callback)
                most = max(most, len(alive))
            del callback
            await b.until_received(count)
            await a.backplane.probe()
            assert most <= MOST_OPEN + 1
            assert len(alive) <= ASK_AFTER

    run(main())


def test_a_message_that_is_too_long_for_us_harms_nothing(run: Run, shared: SharedRabbitMq) -> None:
    async def main() -> None:
        async with Peers(shared.broker.url) as peers, raw_link(shared) as link:
            peer = await peers.join()
            await peer.backplane.subscribe(["s"])
            too_long = bytes(peer.backplane.max_payload + 1)
            await link.publish(peers.exchange, "s", "foreign", too_long, None)
            await link.publish(peers.exchange, "s", "foreign", b"short", None)
            assert await peer.until_received(1) == [("s", b"short")]

    run(main())


def test_a_queue_that_is_taken_away_is_made_anew(run: Run, shared: SharedRabbitMq) -> None:
    async def main() -> None:
        async with Peers(shared.broker.url) as peers:
            a, b = await peers.join(), await peers.join()
            await b.backplane.subscribe(["s"])
            each = "Q <- rabbit_amqqueue:list()"
            await evaluate(shared, f"[rabbit_amqqueue:delete(Q, false, false, <<>>) || {each}]")
            await b.until(lambda: LinkState.DOWN in [state for state, _ in b.states])
            await until_heard(a, b, "s")

    run(main())


def test_a_name_that_cannot_be_one_is_told() -> None:
    async def main() -> None:
        peer = Peer(make_backplane(f"amqp://{'x' * 70}"))
        await peer.backplane.start(peer.receive, peer.tell)
        with pytest.raises(LinkDown, match="label"):
            await peer.backplane.publish("s", b"x")
        await peer.backplane.close()

    asyncio.run(main())


def test_another_server_is_taken_when_the_first_is_not_there(
    run: Run, shared: SharedRabbitMq
) -> None:
    async def main() -> None:
        with socket.socket() as nobody:  # bound, and not listening: connections are refused
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            both = f"guest:guest@127.0.0.1:{port},127.0.0.1:{shared.broker.port}"
            async with Peers(f"amqp://{both}") as peers:
                peer = peers.make()
                await peer.backplane.start(peer.receive, peer.tell)
                assert peer.states == [
                    (LinkState.UP, f"connected to 127.0.0.1:{shared.broker.port}")
                ]

    run(main())


@on_both_loops
def test_tls_with_a_certificate_on_both_sides(run: Run, shared: SharedRabbitMq) -> None:
    async def main() -> None:
        certificates = f"&ca={shared.ca}&cert={shared.cert}"
        async with Peers(shared.secure_url, certificates) as peers:
            a, b = await peers.join(), await peers.join()
            await b.backplane.subscribe(["s"])
            await a.backplane.publish("s", bytes(900_000))
            assert await b.until_received(1) == [("s", bytes(900_000))]
            await b.backplane.restart("the test says so")
            await until_heard(a, b, "s")

    run(main())


@on_both_loops
@pytest.mark.parametrize("certificates", ["", "ca"])
def test_tls_that_does_not_come_about_is_told(
    run: Run, shared: SharedRabbitMq, certificates: str
) -> None:
    async def main() -> None:
        options = f"&ca={shared.ca}" if certificates else ""
        async with Peers(shared.secure_url, options) as peers:
            peer = peers.make()
            await peer.backplane.start(peer.receive, peer.tell)
            assert peer.backplane.state is LinkState.DOWN
            with pytest.raises(LinkDown, match=r"(?i)certificate|closed|reset"):
                await peer.backplane.publish("s", b"x")

    run(main())


# A broker that goes, hangs or has enough.


def test_a_broker_that_is_killed_and_comes_back(shared: SharedRabbitMq) -> None:
    async def main() -> None:
        async with Peers(shared.broker.url) as peers:
            a, b = await peers.join(), await peers.join()
            await b.backplane.subscribe(["kept", "dropped"])
            shared.broker.process.kill()
            for peer in (a, b):
                await until(peer, LinkState.DOWN)
            with pytest.raises(LinkDown):
                await a.backplane.publish("kept", b"lost")
            with pytest.raises(LinkDown):
                await a.backplane.probe()
            await b.backplane.subscribe(["added"])
            await b.backplane.unsubscribe(["dropped"])
            late = peers.make()
            await late.backplane.start(late.receive, late.tell)
            assert late.backplane.state is LinkState.DOWN
            await late.backplane.subscribe(["late"])
            await asyncio.to_thread(shared.broker.process.start)
            for peer in (a, b, late):
                await until(peer, LinkState.UP)
            await a.backplane.publish("dropped", b"x")
            await until_heard(a, b, "kept")
            await until_heard(a, b, "added")
            await until_heard(a, late, "late")
            assert [state for state, _ in b.states] == [LinkState.UP, LinkState.DOWN, LinkState.UP]
            assert [state for state, _ in late.states] == [LinkState.UP]
            assert "dropped" not in [subject for subject, _ in b.received]

    asyncio.run(main())


@on_both_loops
def test_a_broker_that_ends_the_connection_says_why(run: Run, shared: SharedRabbitMq) -> None:
    async def main() -> None:
        async with Peers(shared.broker.url) as peers:
            a, b = await peers.join(), await peers.join()
            await b.backplane.subscribe(["s"])
            all_of_them = "rabbit_networking:connections_local()"
            why = "the test says so"
            await evaluate(shared, f'rabbit_networking:close_connections({all_of_them}, "{why}")')
            await b.until(lambda: LinkState.DOWN in [state for state, _ in b.states])
            assert "CONNECTION_FORCED - the test says so" in b.states[1][1]
            await until_heard(a, b, "s")

    run(main())


@on_both_loops
def test_a_frozen_broker_makes_publishers_wait_and_is_left(
    run: Run, shared: SharedRabbitMq
) -> None:
    async def main() -> None:
        async with Peers(shared.broker.url) as peers:
            a, b = await peers.join(), await peers.join()
            await b.backplane.subscribe(["s"])
            shared.broker.process.freeze()
            accepted = 0

            async def publish() -> None:
                nonlocal accepted
                while True:
                    await a.backplane.publish("s", bytes(100_000))
                    accepted += 1

            publishing = [asyncio.create_task(publish()) for _ in range(3)]
            probing = asyncio.create_task(a.backplane.probe())
            before = -1
            while accepted > before:  # until the kernel's buffers and ours are full
                before = accepted
                await asyncio.wait(publishing, timeout=0.2)
            assert not probing.done()
            await a.backplane.restart("the test says so")
            assert a.states[-1] == (LinkState.DOWN, "the test says so")
            await a.backplane.restart("it is down already")
            for task in (*publishing, probing):
                with pytest.raises(LinkDown, match="the test says so"):
                    await task
            shared.broker.process.thaw()
            await until(a, LinkState.UP)
            await until_heard(a, b, "s")

    run(main())


def test_a_frozen_broker_is_noticed_by_its_heartbeat(shared: SharedRabbitMq) -> None:
    async def main() -> None:
        async with Peers(shared.broker.url, "&heartbeat=1") as peers:
            peer = await peers.join()
            shared.broker.process.freeze()
            await until(peer, LinkState.DOWN)
            assert "nothing was heard" in peer.states[-1][1]
            shared.broker.process.thaw()
            await until(peer, LinkState.UP)

    asyncio.run(main())


@on_both_loops
def test_a_server_leaves_a_frozen_broker(run: Run, shared: SharedRabbitMq) -> None:
    async def main() -> None:
        async with Peers(shared.broker.url) as peers:
            peer = await peers.join()
            shared.broker.process.freeze()
            async with asyncio.timeout(PATIENCE):
                await peer.backplane.close()
            assert peer.backplane.state is LinkState.CLOSED

    run(main())


def test_a_broker_that_is_low_on_memory_takes_nothing_for_a_while(shared: SharedRabbitMq) -> None:
    async def main() -> None:
        async with Peers(shared.broker.url) as peers:
            a, b = await peers.join(), await peers.join()
            await b.backplane.subscribe(["s"])
            await set_memory_limit(shared, "1MB")
            published = 0

            async def publish() -> None:
                nonlocal published
                while True:
                    await a.backplane.publish("s", b"")
                    published += 1

            publishing = asyncio.create_task(publish())
            before = -1
            while published > before:
                before = published
                await asyncio.wait([publishing], timeout=0.2)
            await a.backplane.restart("it does not answer")  # it is slow, and has said so
            await set_memory_limit(shared, "512MB")
            await b.until_received(published + 1)
            publishing.cancel()
            assert [state for state, _ in a.states] == [LinkState.UP]

    asyncio.run(main())


def test_a_password_that_is_changed_meanwhile_is_waited_for(
    shared: SharedRabbitMq, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        refused = asyncio.Event()

        def note(record: logging.LogRecord) -> bool:
            if "ACCESS_REFUSED" in record.getMessage():
                refused.set()
            return True

        async with Peers(shared.broker.url) as peers:
            peer = await peers.join()
            await change_password(shared, "another")
            try:
                monkeypatch.setattr(
                    logging.getLogger("netserver.backplane.keeper"), "filters", [note]
                )
                await peer.backplane.restart("the test says so")
                async with asyncio.timeout(PATIENCE):
                    await refused.wait()
            finally:
                await change_password(shared, "guest")
            await until(peer, LinkState.UP)
            assert [state for state, _ in peer.states] == [
                *(LinkState.UP, LinkState.DOWN, LinkState.UP)
            ]

    asyncio.run(main())
