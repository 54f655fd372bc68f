"""A server of the outage test, with strict connections whose messages stay on it, if they can.

It listens three times, in the order of `LISTENERS`, and says where. A line on its standard input is
a JSON object: with ``flood``, seconds, it sends for so long what cannot arrive: a third of it to
the identity ``to``, on a server that is out of reach, the rest to identities and groups that nobody
has. It answers with what it counts, what it was told of its link, and what became of the flood.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections import Counter
from typing import Any

from attrs import asdict

from benchmark.peers.foreman_server import STRICT, Echo
from netserver import ClusterConfig, Connection, Request, Server
from netserver.events import BackplaneDown, BackplaneUp, Event, MessagesDropped

ABSENT = 1000  # identities, and groups, that a flood goes to
SIZE = 1024  # bytes of its messages
BURST = 7  # of each kind, between two looks at the clock
PAUSE = 0.001  # seconds between bursts, so that the flood is the backplane's and not the CPU's
PATIENCE = 1.0  # seconds in which it must be known what became of a message

_TOLD = (BackplaneDown, BackplaneUp, MessagesDropped)


class Twin(Connection):
    """Has a number for its path, and a twin, whose number differs in the last bit."""

    required_latency = STRICT
    server: Server

    def on_connect(self, request: Request) -> None:
        self.number = int(request.path.strip("/"))


class Caller(Twin):
    """Sends what it gets to the identity of its twin."""

    def on_connect(self, request: Request) -> None:
        super().on_connect(request)
        self.identity = str(self.number)
        self.other = str(self.number ^ 1)

    def on_message(self, message: bytes | str) -> None:
        self.server.send_to(self.other, message)


class Singer(Twin):
    """Sends what it gets to the group of its twin."""

    def on_open(self) -> None:
        self.join(f"pair/{self.number}")
        self.other = f"pair/{self.number ^ 1}"

    def on_message(self, message: bytes | str) -> None:
        self.server.broadcast(message, self.other)


LISTENERS: tuple[type[Connection], ...] = (Echo, Caller, Singer)
ECHO, CALLER, SINGER = range(3)


class Site(Server):
    """Keeps what it is told of its link."""

    def __init__(self, url: str, config: ClusterConfig) -> None:
        super().__init__(cluster=url, cluster_config=config, on_event=self._note)
        self.told: list[dict[str, Any]] = []  # appended to by the cluster's thread

    def _note(self, _worker: object, event: Event) -> None:
        if isinstance(event, _TOLD):
            told = {"at": time.monotonic(), "kind": type(event).__name__, **asdict(event)}
            self.told.append(told)

    def describe(self) -> dict[str, Any]:
        """What it counts, its limit, and what it was told."""
        counted = asdict(self.statistics().cluster)
        return {**counted, "limit": self.cluster.config.publish_limit, "told": list(self.told)}

    def flood(self, seconds: float, to: str) -> dict[str, Any]:
        """Send what cannot arrive, for so long: how much, what became of it, what waited."""
        outcomes: Counter[str] = Counter()
        count = most = 0
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for _ in range(BURST):
                name, count = f"absent-{count % ABSENT}", count + 1
                for who in (to, name):
                    delivery = self.send_to(who, bytes(SIZE), timeout=PATIENCE)
                    delivery.then(lambda outcome: outcomes.update([outcome.value]))
                self.broadcast(bytes(SIZE), name)
                most = max(most, self.statistics().cluster.waiting)
            time.sleep(PAUSE)
        return {"messages": 3 * count, "size": SIZE, "waiting": most, "outcomes": dict(outcomes)}


def main() -> None:
    """Serve until SIGTERM, or SIGKILL."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, action="append", required=True)
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--probe-timeout", type=float, required=True)
    options = parser.parse_args()
    site = Site(options.cluster, ClusterConfig(probe_timeout=options.probe_timeout))
    urls = [f"ws://127.0.0.1:{port}" for port in options.port]
    for url, kind in zip(urls, LISTENERS, strict=True):
        site.listen(url, kind)
    site.start()
    _say({"urls": urls})
    threading.Thread(target=_obey, args=(site,), name="control", daemon=True).start()
    site.run()


def _obey(site: Site) -> None:
    for line in sys.stdin:
        told = json.loads(line)
        flood = site.flood(told["flood"], told["to"]) if told else None
        _say({**site.describe(), "flood": flood})
    os._exit(0)


def _say(fields: dict[str, Any]) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
