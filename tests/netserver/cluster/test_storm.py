"""Many clients of several servers do everything at random; then all is as it should be."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random

import pytest

from netclient.blocking import Client
from netserver import GroupRules, History, Outcome
from tests.netserver.backplane.engines import ENGINES
from tests.netserver.cluster.conftest import PATIENCE, Fleet, Site, Visitor

RULES = GroupRules(presence=True, history=History(count=100_000, size=2**26))
SECONDS = 1.5
SERVERS, THREADS, ROOMS = 3, 8, 4


@contextmanager
def fleet(engine: str) -> Iterator[Fleet]:
    with ENGINES[engine]() as joined, ExitStack() as stack:
        yield Fleet(joined.url, stack)


def until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


class Storm:
    """What one thread does with one client at a time."""

    def __init__(self, sites: list[Site], number: int) -> None:
        self.sites = sites
        self.name = f"guest{number}"
        self.random = Random(number)
        self.said: list[tuple[str, str]] = []
        self.rooms: set[str] = set()
        self.visitor: Visitor | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                self._step()
        except BaseException as error:
            self.error = error

    def _step(self) -> None:
        room = f"room/{self.random.randrange(ROOMS)}"
        if self.visitor is None:
            site = self.random.choice(self.sites)
            client = Client(f"{site.url}/{self.name}", reconnect=None)
            client.connect()
            self.visitor = Visitor(client)
        client = self.visitor.client
        match self.random.randrange(10):
            case 0:
                self.close()
            case 1 | 2 | 3:
                client.send(json.dumps(["join", room, self.random.random(), None]))
                self.rooms.add(room)
            case 4 | 5:
                client.send(json.dumps(["leave", room]))
                self.rooms.discard(room)
            case 6:
                other = f"guest{self.random.randrange(THREADS)}"
                self.random.choice(self.sites).ask(other, "?", timeout=0.5)
            case _:
                text = f"{self.name} {len(self.said)}"
                delivery = self.random.choice(self.sites).publish(room, text)
                assert delivery.wait(PATIENCE) is Outcome.QUEUED
                self.said.append((room, text))

    def close(self) -> None:
        if self.visitor is not None:
            self.visitor.close()
            self.visitor = None
        self.rooms.clear()


@pytest.mark.parametrize("engine", ["memory", "nats"])
def test_after_a_storm_everything_is_right_and_nothing_is_left(engine: str) -> None:
    with fleet(engine) as joined:
        sites = [joined.server(rules=RULES, watched=["room/0"]) for _ in range(SERVERS)]
        storms = [Storm(sites, number) for number in range(THREADS)]
        for storm in storms:
            storm.thread.join(SECONDS + PATIENCE)
        assert [storm.error for storm in storms] == [None] * THREADS

        # Whoever is there is known wherever somebody is there.
        for number in range(ROOMS):
            room = f"room/{number}"
            truth = sorted(storm.name for storm in storms if room in storm.rooms)
            for site in sites:
                if number == 0 or room in site.groups:
                    until(lambda: sorted(str(m.identity) for m in site.presence(room)) == truth)  # noqa: B023

        # All that was said is told to who comes, once, in the order of each who said it.
        said = sorted(each for storm in storms for each in storm.said)
        for site in sites if engine == "nats" else sites[:0]:
            visitor = joined.visit(site, "reader")
            told = []
            for number in range(ROOMS):
                told += [(f"room/{number}", text) for text in history(visitor, f"room/{number}")]
            visitor.close()
            assert sorted(told) == said
            for storm in storms:
                for number in range(ROOMS):
                    mine = [
                        t for r, t in told if r == f"room/{number}" and t.split()[0] == storm.name
                    ]
                    assert mine == [t for r, t in storm.said if r == f"room/{number}"]

        for storm in storms:
            storm.close()
        for site in sites:
            until(lambda: not site.statistics().connections)  # noqa: B023
            cluster = site.cluster
            assert len(site.groups) == len(cluster.identities) == 0
            until(lambda: not cluster._core.memberships._known)  # noqa: B023
            until(lambda: site.presence("room/0") == [])  # noqa: B023
            until(lambda: cluster._budget.used == 0)  # noqa: B023
            until(lambda: cluster._core.router._waiting._things == {})  # noqa: B023
            assert cluster._core.sender._owed == 0
            assert not cluster._core.claims._claims
            assert not cluster._core.memberships._expected
            wanted = cluster._core.interest._wanted
            until(lambda: all(count > 0 for count in wanted.values()))  # noqa: B023
            identities = [subject for subject in wanted if subject.startswith("foreman.c.")]
            assert identities == []


def history(visitor: Visitor, room: str) -> list[str]:
    """What somebody who comes is told."""
    visitor.client.send(json.dumps(["join", room, None, None]))
    told = [visitor.read(), visitor.read()]
    (recovery,) = [each for each in told if each[0] == "recovery"]
    texts: list[str] = recovery[5]
    return texts
