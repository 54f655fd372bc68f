"""Two server processes behind a real HAProxy or nginx are one chat, also when one is killed."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar
from urllib.request import urlopen

import pytest
from attrs import define, evolve

import chat_example
from benchmark.brokers.process import (
    BrokerMissing,
    BrokerProcess,
    find_program,
    free_port,
    listens,
)
from chat_example.protocol import (
    Error,
    History,
    Left,
    Renamed,
    Room,
    Rooms,
    Said,
    Welcome,
    Whispered,
)
from chat_example.server import TOGETHER, ChatConnection, ChatServer
from chat_example.session import Item, Notice, Session
from netclient import Backoff
from netclient.blocking import Client as BlockingClient
from tests.netserver.backplane.brokers import required_nats

if TYPE_CHECKING:
    from tests.chat_example.conftest import Browser, Tab

# Generous: nothing is measured, only a hang is to be noticed.
PATIENCE = 30.0

CONNECTED = "document.getElementById('state').textContent === 'connected'"

M = TypeVar("M")


# ---------------------------------------------------------------- servers


@define
class Site:
    """Two servers and what is before them; nginx has no front for TCP."""

    servers: list[BrokerProcess]
    ws: list[str]
    tcp: list[str]
    front_ws: str
    front_tcp: str


def server(cluster: str, page: int, tcp: int, directory: Path) -> BrokerProcess:
    ports = ("--port", str(page), "--tcp-port", str(tcp))
    return BrokerProcess(
        name="a chat server",
        command=[sys.executable, "-m", "chat_example", "serve", "--cluster", cluster, *ports],
        log=directory / f"chat-{page}",
        ready=lambda: listens(page) and listens(tcp),
        patience=PATIENCE,
        environment={**os.environ, "PYTHONPATH": str(Path(chat_example.__file__).parents[1])},
    )


def required(program: str) -> str:
    try:
        return find_program(program, program)
    except BrokerMissing as missing:
        pytest.skip(str(missing))


def haproxy(ports: dict[str, int], directory: Path) -> BrokerProcess:
    program = required("haproxy")
    configuration = Path(chat_example.__file__).with_name("haproxy.cfg")
    return BrokerProcess(
        name="haproxy",
        command=[program, "-db", "-f", str(configuration)],
        log=directory / "haproxy",
        ready=lambda: listens(ports["PAGE"]) and listens(ports["TCP"]),
        environment={**os.environ, **{name: str(port) for name, port in ports.items()}},
    )


def nginx(ports: dict[str, int], directory: Path) -> BrokerProcess:
    program = required("nginx")
    configuration = Path(chat_example.__file__).with_name("nginx.conf").read_text()
    for name, port in {"PAGE": 8000, "PAGE_1": 8001, "PAGE_2": 8002}.items():
        configuration = re.sub(
            rf"(?m) 127.0.0.1:{port}\b", f" 127.0.0.1:{ports[name]}", configuration
        )
    changed = directory / "nginx.conf"
    changed.write_text(configuration)
    return BrokerProcess(
        name="nginx",
        command=[program, "-e", "stderr", "-p", str(directory), "-c", str(changed)],
        log=directory / "nginx",
        ready=lambda: listens(ports["PAGE"]),
    )


Front: TypeAlias = Callable[[dict[str, int], Path], BrokerProcess]


@contextmanager
def running(clusters: list[str], front: Front) -> Iterator[Site]:
    names = ("PAGE", "PAGE_1", "PAGE_2", "TCP", "TCP_1", "TCP_2")
    ports = {name: free_port() for name in names}
    pages, tcps = (ports["PAGE_1"], ports["PAGE_2"]), (ports["TCP_1"], ports["TCP_2"])
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chat-")))
        balancer = front(ports, directory)
        servers = [
            server(cluster, page, tcp, directory)
            for cluster, page, tcp in zip(clusters, pages, tcps, strict=True)
        ]
        for process in (*servers, balancer):
            stack.callback(process.stop)
            process.start()
        yield Site(
            servers,
            [f"ws://127.0.0.1:{port}" for port in pages],
            [f"tcp://127.0.0.1:{port}" for port in tcps],
            f"ws://127.0.0.1:{ports['PAGE']}",
            f"tcp://127.0.0.1:{ports['TCP']}",
        )


@contextmanager
def on_nats_behind_haproxy() -> Iterator[Site]:
    with required_nats(jetstream=True) as broker, running([broker.url] * 2, haproxy) as site:
        yield site


@contextmanager
def on_zmq_behind_nginx() -> Iterator[Site]:
    one, two = free_port(), free_port()
    urls = [f"zmq://127.0.0.1:{one}?peers=127.0.0.1:{two}"]
    urls += [f"zmq://127.0.0.1:{two}?peers=127.0.0.1:{one}"]
    with running(urls, nginx) as site:
        yield site


# ---------------------------------------------------------------- people


def _any(item: object) -> bool:
    return True


class Guest:
    """The terminal client, without a terminal."""

    def __init__(self, url: str, nick: str) -> None:
        self.shown: asyncio.Queue[Item] = asyncio.Queue()
        self.lines: list[str] = []
        self.doubts = 0  # how often it was told that it may have missed something
        put = self.shown.put_nowait
        self.session = Session(url, nick, "lobby", put, reconnect=Backoff(cap=0.5))

    async def come(self) -> Room:
        await self.session.open()
        return await self.see(Room)

    async def write(self, line: str) -> None:
        await self.session.type(line)

    async def see(self, kind: type[M], where: Callable[[M], bool] = _any) -> M:
        """The next that is shown of a kind, whatever comes before."""
        async with asyncio.timeout(PATIENCE):
            while True:
                item = await self.shown.get()
                if isinstance(item, Said):
                    self.lines.append(item.text)
                self.doubts += isinstance(item, History)
                if isinstance(item, kind) and where(item):
                    return item

    async def hear(self, text: str) -> Said:
        return await self.see(Said, lambda said: said.text == text)

    async def have_heard(self, count: int) -> None:
        """Wait until so many lines were shown since the beginning."""
        while len(self.lines) < count:
            await self.see(Said)

    async def meet(self, *nicks: str) -> None:
        """Wait until these are here, and nobody else."""
        while self.session.people != set(nicks):
            await self.see(object)


def chatting(scenario: Callable[[list[Guest]], Awaitable[None]]) -> None:
    """Run a scenario; whoever it puts into the list leaves at the end."""

    async def main() -> None:
        guests: list[Guest] = []
        try:
            await scenario(guests)
        finally:
            for guest in guests:
                await guest.session.close()

    asyncio.run(main())


def test_people_on_two_servers_behind_haproxy_are_in_one_chat() -> None:
    with on_nats_behind_haproxy() as site:
        chatting(partial(one_chat, site))


def test_people_on_two_servers_behind_nginx_are_in_one_chat() -> None:
    with on_zmq_behind_nginx() as site:
        address = site.front_ws.replace("ws", "http", 1)
        with urlopen(f"{address}/", timeout=PATIENCE) as page:
            assert b"page.js" in page.read()
        with BlockingClient(site.front_ws, headers=(("Origin", address),)):
            pass  # as a browser does that has the page
        chatting(partial(one_chat, site))
        chatting(partial(one_less, site))


async def one_chat(site: Site, guests: list[Guest]) -> None:
    ada, bob = Guest(site.ws[0], "ada"), Guest(site.tcp[1], "bob")
    guests += [ada, bob]
    await ada.come()
    await bob.come()
    for guest in (ada, bob):
        await guest.meet("ada", "bob")

    await ada.write("hello from one server")
    await bob.hear("hello from one server")
    await bob.write("/me waves from the other")
    await ada.hear("waves from the other")

    # Who comes through the balancer is told what was said, on either of the two.
    cy, dan = Guest(site.front_ws, "cy"), Guest(site.front_ws, "dan")
    guests += [cy, dan]
    for guest in (cy, dan):
        await guest.come()
        await guest.hear("waves from the other")
        assert guest.lines == ["hello from one server", "waves from the other"]
    await ada.meet("ada", "bob", "cy", "dan")

    await ada.write("/msg BOB between us")
    for guest in (ada, bob):
        whispered = await guest.see(Whispered)
        assert (whispered.sender, whispered.to, whispered.text) == ("ada", "bob", "between us")
    await bob.write("/msg nobody hello")
    assert (await bob.see(Error)).code == "nobody"

    # A nickname is one person's on both, and they get it back on either, with their ticket.
    other = Guest(site.tcp[1], "Ada")
    guests.append(other)
    await other.session.open()
    await other.see(Notice)
    assert other.session.refused == "somebody else is called Ada"
    again = Guest(site.tcp[1], "ada")
    guests.append(again)
    again.session._ticket = ada.session._ticket
    await again.come()
    async with asyncio.timeout(PATIENCE):
        await ada.session.ended.wait()
    await other.write("eve")
    await other.see(Welcome)

    await bob.write("/nick ada")
    assert (await bob.see(Error)).code == "nick-taken"
    await bob.write("/nick rob")
    for guest in (cy, dan):
        await guest.see(Renamed, lambda renamed: renamed.new == "rob")
    await bob.write("/join tea")
    for guest in (cy, dan):
        left = await guest.see(Left, lambda left: left.nick == "rob")
        assert left.why == "went to #tea"
        await guest.write("/rooms")
        assert (await guest.see(Rooms)).rooms == {"lobby": 4, "tea": 1}
    # Until now nobody left who did not, though one changed servers.
    for guest in (cy, dan):
        await guest.meet("ada", "cy", "dan", "eve")


async def one_less(site: Site, guests: list[Guest]) -> None:
    survivor = Guest(site.ws[1], "survivor")
    people = [Guest(site.front_ws, f"page{n}") for n in range(4)]
    guests += [survivor, *people]
    for guest in guests:
        await guest.come()
    site.servers[0].kill()
    # Some of them were on it, for whoever comes is sent where fewer are.
    coming = {asyncio.create_task(guest.see(Welcome)): guest for guest in people}
    done, others = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    for task in done:
        await coming[task].see(Room)
        await coming[task].write("here again")
        assert (await survivor.hear("here again")).nick == task.result().nick


def test_who_was_on_a_server_that_is_killed_comes_back_and_has_missed_nothing() -> None:
    with on_nats_behind_haproxy() as site:
        chatting(partial(killed, site))


async def killed(site: Site, guests: list[Guest]) -> None:
    survivor, victim = Guest(site.ws[1], "survivor"), Guest(site.tcp[0], "victim")
    people = [Guest(site.front_ws, f"page{n}") for n in range(2)]
    people += [Guest(site.front_tcp, f"terminal{n}") for n in range(2)]
    guests += [survivor, victim, *people]
    for guest in guests:
        await guest.come()
    nicks = {guest.session.nick for guest in guests}
    for guest in guests:
        await guest.meet(*nicks)
    for guest in guests:
        await guest.write(f"I am {guest.session.nick}")
    for guest in guests:
        await guest.have_heard(6)

    site.servers[0].kill()
    for number in range(5):
        await survivor.write(f"while you were away {number}")
    for guest in (survivor, *people):
        await guest.have_heard(11)
        assert guest.lines == survivor.lines
        assert guest.doubts == 0
    # Who can come back was never gone to the others; who cannot is, after a while.
    assert (await survivor.see(Left)).nick == "victim"
    await survivor.meet(*nicks - {"victim"})

    await victim.session.close()  # which would come back with it

    # The server comes again, and is one of them.
    site.servers[0].start()
    returned = Guest(site.tcp[0], "returned")
    guests.append(returned)
    await returned.come()
    await returned.meet(*nicks - {"victim"}, "returned")
    for guest in (*people, returned):
        await guest.write("here again")
    for _ in range(5):
        await survivor.hear("here again")


# Leaves a trace of a connection that is lost, however soon there is another.
WATCH = """
window.lost = false;
new MutationObserver(() => {
  window.lost ||= document.getElementById("state").textContent !== "connected";
}).observe(document.getElementById("state"), {childList: true, characterData: true, subtree: true});
"""


def test_pages_behind_haproxy_are_on_two_servers_and_then_on_the_one_that_is_left(
    browser: Browser,
) -> None:
    said: list[str] = []

    def say(tab: Tab, text: str) -> None:
        tab.write("#line", text)
        said.append(text)
        for each in tabs:
            each.wait_for_text(text)

    with on_nats_behind_haproxy() as site:
        page = site.front_ws.replace("ws", "http", 1)
        tabs = []
        for nick in ("ada", "bob"):
            tab = browser.open(f"{page}/?room=lobby")
            tab.write("#nick", nick)
            tab.wait_for(CONNECTED)
            tab.evaluate(WATCH)
            tabs.append(tab)
        ada, bob = tabs
        say(ada, "hello from one page")
        say(bob, "hello from the other")

        # Whoever comes is sent where fewer are: one of them was here.
        site.servers[0].kill()
        ends = time.monotonic() + PATIENCE
        while not (lost := [tab for tab in tabs if tab.evaluate("window.lost")]):
            assert time.monotonic() < ends, "both are on the server that is left"
        assert len(lost) == 1
        lost[0].wait_for(CONNECTED)
        say(lost[0], "here again")
        say(ada, "who else?")
        say(bob, "I am")
        for tab in tabs:
            shown = "[...document.querySelectorAll('#log .said')].map((e) => e.innerText)"
            for line, text in zip(tab.evaluate(shown), said, strict=True):
                assert text in line
            assert "not everything" not in tab.evaluate("document.body.innerText")


def test_what_is_said_while_the_broker_is_away_waits_and_what_is_too_much_is_refused() -> None:
    config = evolve(TOGETHER, publish_limit=2000)
    with required_nats(jetstream=True) as broker:
        server = ChatServer(cluster=broker.url, cluster_config=config)
        listener = server.listen("tcp://127.0.0.1:0", ChatConnection)
        with server:
            chatting(partial(without_a_broker, f"tcp://127.0.0.1:{listener.port}", broker.process))


def test_plain_lines_are_typed_although_the_room_cannot_be_had() -> None:
    with required_nats(jetstream=True) as broker:
        server = ChatServer(cluster=broker.url, cluster_config=TOGETHER)
        listener = server.listen("tcp://127.0.0.1:0", ChatConnection)
        with server:
            broker.process.kill()
            done = subprocess.run(
                [sys.executable, "-m", "chat_example", "join", "--nick", "ada"]
                + [f"tcp://127.0.0.1:{listener.port}"],
                input="/rooms\n",
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.splitlines()[2:] == [
                "* what was said in #lobby cannot be had now; without it, then",
                "* rooms: #lobby (1)",
                "* goodbye",
            ]


async def without_a_broker(url: str, broker: BrokerProcess, guests: list[Guest]) -> None:
    ada, bob = Guest(url, "ada"), Guest(url, "bob")
    guests += [ada, bob]
    await ada.come()
    await bob.come()
    await ada.write("before")
    await bob.hear("before")
    broker.kill()
    await ada.write("a" * 1000)
    await ada.write("b" * 1000)
    assert (await ada.see(Error)).code == "not-said"
    await ada.write("/msg bob are you here?")  # what is local goes on
    assert (await bob.see(Whispered)).text == "are you here?"
    broker.start()
    await bob.hear("a" * 1000)
    await bob.write("after")
    await ada.hear("after")
    assert ada.lines == ["before", "a" * 1000, "after"]
