"""NATS: URLs, TLS and credentials, and a broker that is absent, stopped, killed or frozen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nkeys
import pytest
import trustme
import uvloop

from benchmark.brokers.nats import NatsServer
from benchmark.brokers.process import free_port
from netserver.backplane import (
    BackplaneError,
    LinkDown,
    LinkState,
    make_backplane,
)
from netserver.backplane.nats.inbox import MOST_OPEN
from tests.netserver.backplane.brokers import required_nats
from tests.netserver.backplane.conftest import PATIENCE, Peer

SEED = "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU"


@asynccontextmanager
async def joined(url: str) -> AsyncIterator[Peer]:
    """A server's end that is up."""
    peer = Peer(make_backplane(url))
    try:
        await peer.start()
        yield peer
    finally:
        await peer.backplane.close()


def run(main: Callable[[], Coroutine[Any, Any, None]], loop: str = "asyncio") -> None:
    async def limited() -> None:
        async with asyncio.timeout(40):
            await main()

    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(limited())


async def hears(a: Peer, b: Peer, subject: str) -> None:
    """See that what one publishes reaches the other, now that both are up."""
    before = len(b.received)
    await a.backplane.publish(subject, b"is it there?")
    await b.until_received(before + 1)
    assert b.received[before:] == [(subject, b"is it there?")]


async def reached(a: Peer, subject: str) -> None:
    """Publish until somebody hears it, as when a route is made or a subscription on its way."""
    while True:
        unheard: list[None] = []
        await a.backplane.publish(subject, b"", lambda told=unheard: told.append(None))  # type: ignore[misc]
        await a.backplane.probe()
        if not unheard:
            return
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("configuration", "right", "wrong"),
    [
        ("authorization {user: u, password: 'p@w'}", "nats://u:p%40w@{}", "nats://u:no@{}"),
        ("authorization {token: t0k}", "nats://{}?token=t0k", "nats://{}?token=no"),
    ],
)
def test_credentials_are_told_and_wrong_ones_refused(
    configuration: str, right: str, wrong: str
) -> None:
    async def main(server: NatsServer) -> None:
        address = f"127.0.0.1:{server.port}"
        async with joined(right.format(address)) as a, joined(right.format(address)) as b:
            await b.backplane.subscribe(["s"])
            await hears(a, b, "s")
        for url in (wrong.format(address), f"nats://{address}"):
            refused = Peer(make_backplane(url))
            with pytest.raises(BackplaneError, match="Authorization Violation"):
                await refused.backplane.start(refused.receive, refused.tell)
            await refused.backplane.close()
            assert refused.states == []

    with required_nats(configuration=configuration) as server:
        run(lambda: main(server))


def test_a_key_is_signed_with(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_text(SEED + "\n")
    public = nkeys.from_seed(bytearray(SEED.encode())).public_key.decode()

    async def main(server: NatsServer) -> None:
        async with joined(f"{server.url}?nkey={seed}") as a:
            await a.backplane.probe()

    with required_nats(configuration=f"authorization {{users: [{{nkey: {public}}}]}}") as server:
        run(lambda: main(server))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls_with_certificates_on_both_sides(tmp_path: Path, loop: str) -> None:
    authority, other = trustme.CA(), trustme.CA()
    for name, ca in (("ca", authority), ("other", other)):
        ca.cert_pem.write_to_path(str(tmp_path / name))
    for name, certificate in (
        ("server", authority.issue_cert("127.0.0.1")),
        ("client", authority.issue_cert("us@example.org")),
    ):
        certificate.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
    configuration = (
        f'tls {{cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key", '
        f'ca_file: "{tmp_path}/ca", verify: true}}'
    )

    async def main(server: NatsServer) -> None:
        url = f"tls+nats://127.0.0.1:{server.port}?cert={tmp_path}/client.pem&key={tmp_path}/client.key"
        async with joined(f"{url}&ca={tmp_path}/ca") as a, joined(f"{url}&ca={tmp_path}/ca") as b:
            await b.backplane.subscribe(["s"])
            await hears(a, b, "s")
            large = bytes(900_000)
            await a.backplane.publish("s", large)
            assert (await b.until_received(2))[1] == ("s", large)
        refused = Peer(make_backplane(f"{url}&ca={tmp_path}/other"))
        with pytest.raises(BackplaneError, match="certificate verify failed"):
            await refused.backplane.start(refused.receive, refused.tell)
        await refused.backplane.close()

    with required_nats(configuration=configuration) as server:
        run(lambda: main(server), loop)


def test_credentials_are_not_told_to_a_broker_without_tls() -> None:
    async def main(server: NatsServer) -> None:
        refused = Peer(make_backplane(f"tls+nats://u:p@127.0.0.1:{server.port}"))
        with pytest.raises(BackplaneError, match="it does not offer TLS"):
            await refused.backplane.start(refused.receive, refused.tell)
        await refused.backplane.close()

    with required_nats() as server:
        run(lambda: main(server))


def test_a_server_starts_without_its_broker_and_joins_when_it_is_there() -> None:
    async def main(server: NatsServer) -> None:
        server.process.stop()
        a, b = Peer(make_backplane(server.url)), Peer(make_backplane(server.url))
        for each in (a, b):
            await each.backplane.start(each.receive, each.tell)
            assert each.backplane.state is LinkState.DOWN
            await each.backplane.subscribe(["s"])
            with pytest.raises(LinkDown):
                await each.backplane.publish("s", b"nobody will have this")
            with pytest.raises(LinkDown):
                await each.backplane.probe()
            await each.backplane.restart("it is down already")
        server.process.start()
        for each in (a, b):
            await each.until(lambda each=each: each.backplane.state is LinkState.UP)  # type: ignore[misc]
        await hears(a, b, "s")
        assert b.received == [("s", b"is it there?")]
        for each in (a, b):
            await each.backplane.close()
            assert [state for state, _ in each.states] == [LinkState.UP]

    with required_nats() as server:
        run(lambda: main(server))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_broker_that_comes_back_finds_all_subscriptions(end: str) -> None:
    async def main(server: NatsServer) -> None:
        subjects = [f"client.{number}" for number in range(3000)]
        async with joined(server.url) as a, joined(server.url) as b:
            await b.backplane.subscribe(subjects)
            await hears(a, b, subjects[-1])
            getattr(server.process, end)()
            for each in (a, b):
                await each.until(lambda each=each: each.backplane.state is LinkState.DOWN)  # type: ignore[misc]
            with pytest.raises(LinkDown):
                await a.backplane.publish("client.1", b"refused, not kept")
            await b.backplane.unsubscribe(["client.0"])
            await b.backplane.subscribe(["later"])
            server.process.start()
            for each in (a, b):
                await each.until(lambda each=each: each.backplane.state is LinkState.UP)  # type: ignore[misc]
            for subject in (subjects[1], subjects[-1], "later"):
                await hears(a, b, subject)
            unheard = asyncio.Event()
            await a.backplane.publish("client.0", b"x", unheard.set)
            await unheard.wait()
            states = [LinkState.UP, LinkState.DOWN, LinkState.UP]
            assert [state for state, _ in b.states] == states

    with required_nats() as server:
        run(lambda: main(server))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_broker_that_hangs_takes_a_bounded_amount_and_is_left_by_a_restart(loop: str) -> None:
    async def main(server: NatsServer) -> None:
        async with joined(server.url) as a, joined(server.url) as b:
            await b.backplane.subscribe(["s"])
            server.process.freeze()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await a.backplane.probe()
            published = 0

            async def flood() -> None:
                nonlocal published
                while True:
                    await a.backplane.publish("s", bytes(10_000))
                    published += 1
                    await asyncio.sleep(0)

            flooding = asyncio.create_task(flood())
            probing = asyncio.create_task(a.backplane.probe())
            seen = -1
            while seen != published:  # until the kernel's buffers and ours are full
                seen = published
                await asyncio.sleep(0.2)
            assert not flooding.done()
            await a.backplane.restart("the broker hangs")
            for task in (flooding, probing):
                with pytest.raises(LinkDown):
                    await task
            assert a.backplane.state is LinkState.DOWN
            assert a.states[-1] == (LinkState.DOWN, "the broker hangs")
            server.process.thaw()
            await a.until(lambda: a.backplane.state is LinkState.UP)
            await b.backplane.restart("to be sure")
            await b.until(lambda: b.backplane.state is LinkState.UP)
            b.received.clear()
            await hears(a, b, "s")

    with required_nats() as server:
        run(lambda: main(server), loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_broker_that_hangs_does_not_hold_up_leaving(loop: str) -> None:
    async def main(server: NatsServer) -> None:
        async with joined(server.url) as a:
            server.process.freeze()
            await a.backplane.publish("s", bytes(900_000))
            async with asyncio.timeout(PATIENCE):
                await a.backplane.close()
            assert a.backplane.state is LinkState.CLOSED
        server.process.thaw()

    with required_nats() as server:
        run(lambda: main(server), loop)


def test_leaving_takes_along_what_was_published() -> None:
    async def main(server: NatsServer) -> None:
        async with joined(server.url) as b:
            await b.backplane.subscribe(["s"])
            async with joined(server.url) as a:
                for number in range(1000):
                    await a.backplane.publish("s", b"%d" % number)
            received = await b.until_received(1000)
            assert [payload for _, payload in received] == [b"%d" % n for n in range(1000)]

    with required_nats() as server:
        run(lambda: main(server))


def test_each_of_many_messages_that_nobody_hears_is_told_and_no_other() -> None:
    async def main(server: NatsServer) -> None:
        async with joined(server.url) as a, joined(server.url) as b:
            await b.backplane.subscribe(["heard"])
            told: list[int] = []
            for number in range(2 * MOST_OPEN):
                await a.backplane.publish(
                    "heard" if number % 2 else "nobody",
                    b"",
                    lambda n=number: told.append(n),  # type: ignore[misc]
                )
            await a.backplane.probe()
            await b.until_received(MOST_OPEN)
            assert told == list(range(0, 2 * MOST_OPEN, 2))

    with required_nats() as server:
        run(lambda: main(server))


def test_what_breaks_the_brokers_rules_is_logged_and_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(server: NatsServer) -> None:
        url = f"nats://u:p@127.0.0.1:{server.port}"
        async with joined(url) as a, joined(url) as b:
            await b.backplane.subscribe(["s", "forbidden"])
            await a.backplane.publish("forbidden", b"x")
            await a.backplane.probe()
            await hears(a, b, "s")

    allowed = 'permissions: {publish: {deny: "forbidden"}}'
    rules = f"authorization {{users: [{{user: u, password: p, {allowed}}}]}}"
    with required_nats(configuration=rules) as server:
        run(lambda: main(server))
    assert "permissions violation" in caplog.text.lower()


class Levels(logging.Handler):
    """Notes at which levels something is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: asyncio.Queue[int] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.levels.put_nowait(record.levelno)


def test_why_there_is_no_link_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    name = "netserver.backplane.keeper"
    caplog.set_level(logging.DEBUG, name)

    async def main(server: NatsServer) -> None:
        server.process.stop()
        handler = Levels()
        logging.getLogger(name).addHandler(handler)
        peer = Peer(make_backplane(server.url))
        try:
            await peer.backplane.start(peer.receive, peer.tell)
            levels = [await handler.levels.get() for _ in range(3)]  # one for each attempt
        finally:
            logging.getLogger(name).removeHandler(handler)
            await peer.backplane.close()
        assert levels == [logging.WARNING, logging.DEBUG, logging.DEBUG]

    with required_nats() as server:
        run(lambda: main(server))


def test_of_several_servers_one_that_is_there_is_found() -> None:
    async def main(server: NatsServer, gone: int) -> None:
        url = f"nats://127.0.0.1:{gone},127.0.0.1:{server.port}"
        for _ in range(4):  # in whichever order they are tried
            async with joined(url) as a:
                await a.backplane.probe()
                assert a.states == [(LinkState.UP, f"connected to 127.0.0.1:{server.port}")]

    with required_nats() as server, required_nats() as other:
        other.process.stop()
        run(lambda: main(server, other.port))


def test_the_others_of_a_cluster_are_learned_from_the_one_in_the_url() -> None:
    ports = free_port(), free_port()
    configurations = [
        f"cluster {{name: c, listen: 127.0.0.1:{port}, routes: [nats-route://127.0.0.1:{ports[0]}]}}"
        for port in ports
    ]

    async def main(first: NatsServer, second: NatsServer) -> None:
        async with joined(first.url) as a, joined(second.url) as b:
            await b.backplane.subscribe(["s"])
            await reached(a, "s")
            await b.until_received(1)
            await a.backplane.restart("so that it has been told of both")
            await a.until(lambda: a.backplane.state is LinkState.UP)
            first.process.kill()
            await a.until(lambda: a.states[-1][1] == f"connected to 127.0.0.1:{second.port}")
            b.received.clear()
            await hears(a, b, "s")

    with (
        required_nats(configuration=configurations[0]) as first,
        required_nats(configuration=configurations[1]) as second,
    ):
        run(lambda: main(first, second))
