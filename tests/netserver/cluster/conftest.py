"""Servers joined by a backplane, and real clients on them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from queue import Queue
from typing import Any

import pytest
from attrs import define, field

from netclient.blocking import Client
from netserver import (
    ClusterConfig,
    Connection,
    GroupRules,
    Member,
    Position,
    Recovery,
    Request,
    Server,
)
from netserver.events import Event
from tests.netserver.backplane.engines import ENGINES

PATIENCE = 15.0

# Quick to notice what has gone, so that the tests are.
CONFIG = ClusterConfig(heartbeat=0.2, dead_after=1.0, resync=1.0)


class Guest(Connection):
    """Says who it is by its path, and joins the groups that it is told to."""

    server: Site

    def on_connect(self, request: Request) -> None:
        if request.path != "/":
            self.identity = request.path.strip("/")

    def on_message(self, message: Any) -> None:
        command, *rest = json.loads(message)
        if command == "join":
            group, data, since = rest
            position = None if since is None else Position(*since)
            self.join(group, data, position)
            self.send(json.dumps(["joined", group]))
        elif command == "leave":
            self.leave(*rest)
            self.send(json.dumps(["left", *rest]))

    def on_ask(self, message: Any) -> Any:
        if message == "fail":
            raise RuntimeError("not today")
        if message == "later":
            return self._answer_later()
        return f"{self.identity} says {message}"

    async def _answer_later(self) -> str:
        await self.drain()
        return "at last"

    def on_recovery(self, recovery: Recovery) -> None:
        position = recovery.position
        told = ["recovery", recovery.group, recovery.recovered, position.epoch, position.offset]
        self.send(json.dumps([*told, [entry.message for entry in recovery.entries]]))


class Site(Server):
    """A server that notes what it is told."""

    def __init__(self, cluster: str | None, config: ClusterConfig) -> None:
        super().__init__(cluster=cluster, cluster_config=config, on_event=self._note)
        self.events: Queue[Event] = Queue()
        self.changes: Queue[tuple[str, list[str | None], list[str | None]]] = Queue()
        self.url = ""

    def _note(self, worker: object, event: Event) -> None:
        if worker is self.cluster:
            self.events.put(event)

    def on_presence(self, group: str, came: tuple[Member, ...], went: tuple[Member, ...]) -> None:
        self.changes.put((group, [m.identity for m in came], [m.identity for m in went]))


def wait_for(site: Site, kind: type[Event]) -> Event:
    """The next event of a kind; those before it are dropped."""
    while not isinstance(event := site.events.get(timeout=2 * PATIENCE), kind):
        pass
    return event


def until(condition: Callable[[], object]) -> None:
    """Wait for what nothing tells of."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


@define(eq=False)
class Visitor:
    """A client, and what it was sent."""

    client: Client
    inbox: Queue[Any] = field(factory=Queue)

    def read(self) -> Any:
        """The next message."""
        return json.loads(self.client.recv(PATIENCE))

    def ask(self, *command: Any) -> Any:
        self.client.send(json.dumps(command))
        return self.read()

    def join(self, group: str, data: Any = None, since: Any = None) -> Any:
        return self.ask("join", group, data, since)

    def close(self) -> None:
        self.client.close()


class Fleet:
    """Makes servers that are joined, and clients of theirs; ends them all."""

    def __init__(self, url: Callable[[], str], stack: ExitStack) -> None:
        self._url = url
        self._stack = stack

    def server(
        self,
        *,
        rules: GroupRules | None = None,
        config: ClusterConfig = CONFIG,
        watched: Iterable[str] = (),
        kind: type[Connection] = Guest,
    ) -> Site:
        site = Site(self._url(), config)
        if rules is not None:
            for pattern in ("room/*", "@*"):
                site.groups.set_rules(pattern, rules)
        for group in watched:
            site.groups.watch(group)
        listener = site.listen("ws://127.0.0.1:0", kind)
        site.start()
        self._stack.callback(site.close)
        site.url = f"ws://127.0.0.1:{listener.port}"
        return site

    def visit(self, site: Site, identity: str = "") -> Visitor:
        client = Client(f"{site.url}/{identity}", reconnect=None)
        self._stack.callback(client.close)
        client.connect()
        return Visitor(client)


# What a cluster needs of an engine is in the engines' contract: RabbitMQ, which is slow to start,
# has a few of these tests only.
on_all_engines = pytest.mark.parametrize("fleet", ENGINES, indirect=True)


@pytest.fixture(params=[name for name in ENGINES if name != "amqp"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Servers on each engine but RabbitMQ; on that too where the test says so."""
    before = set(threading.enumerate())
    with ENGINES[request.param]() as engine, ExitStack() as stack:
        yield Fleet(engine.url, stack)
    left = [each.name for each in threading.enumerate() if each not in before]
    assert not left, f"threads are left: {left}"
