"""Newcomers come to their nodes a few at a time, and a stuck node holds up nobody elsewhere."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from typing import Any

import pytest
from attrs import frozen

from foreman import BestFit, Demand, Foreman, Place, Placement, Snapshot, Spawn, events
from netserver import Connection, Server
from netserver.arrivals import Arrivals
from netserver.listener import MOST_ARRIVING, Listener

PATIENCE = 10.0
NEWCOMERS = 10 * MOST_ARRIVING


class Echo(Connection):
    required_latency = 1.0
    on_hold: threading.Event  # what a message "wait" waits for, on its node's thread

    def on_message(self, message: bytes | str) -> None:
        if message == b"wait":
            assert self.on_hold.wait(PATIENCE)
        self.send(message)


@frozen(kw_only=True)
class Apart(BestFit):
    """All connections share one node, without the listener."""

    def place(
        self, demand: Demand, snapshot: Snapshot, home: str | None = None, avoid: str | None = None
    ) -> Placement:
        if not demand.kind.endswith("Echo"):
            return super().place(demand, snapshot, home, avoid)
        for node in snapshot.nodes:
            if any(group.kind == demand.kind for group in node.groups):
                return Place(node.name, "with the others")
        return Spawn("the first one")


def dial(stack: ExitStack, address: Any) -> socket.socket:
    sock = stack.enter_context(socket.create_connection(address, PATIENCE))
    sock.settimeout(PATIENCE)
    return sock


def hold_up(foreman: Foreman, stack: ExitStack, until: Any) -> tuple[Listener, socket.socket]:
    """A listener, and a client whose node is stuck in its message until `Echo.on_hold` is set."""
    Echo.on_hold = threading.Event()
    server = stack.enter_context(Server(foreman=foreman))
    stack.callback(Echo.on_hold.set)
    listener = server.listen("tcp://127.0.0.1:0", Echo)
    server.start()
    first = dial(stack, listener.address)
    first.sendall(b"14wait")
    until(lambda: any(node.stuck for node in foreman.nodes), "its node to be stuck")
    return listener, first


def test_only_a_few_are_on_their_way_at_a_time() -> None:
    many: list[int] = []

    def count(event: events.Event) -> None:
        if isinstance(event, events.Placed) and isinstance(event.worker, Connection):
            assert isinstance(event.worker.listener, Listener)
            many.append(len(event.worker.listener._arrivals))

    with Foreman(on_event=count) as foreman, ExitStack() as stack:
        server = stack.enter_context(Server(foreman=foreman))
        listener = server.listen("tcp://127.0.0.1:0", Echo)
        server.start()
        clients = [dial(stack, listener.address) for _ in range(NEWCOMERS)]
        for client in clients:
            client.sendall(b"12hi")
            assert client.recv(4) == b"12hi"
        assert len(many) == NEWCOMERS
        assert max(many) <= MOST_ARRIVING


def test_a_node_that_is_held_up_holds_up_no_others(until: Any) -> None:
    with Foreman(policy=Apart()) as foreman, ExitStack() as stack:
        listener, first = hold_up(foreman, stack, until)
        others = [dial(stack, listener.address) for _ in range(NEWCOMERS)]
        until(lambda: foreman.statistics().workers == 2 + NEWCOMERS, "accepting the others")
        Echo.on_hold.set()
        for client in (first, *others):
            client.sendall(b"12hi")
        assert first.recv(10) in (b"14wait", b"14wait12hi")
        for client in others:
            assert client.recv(4) == b"12hi"


def test_it_is_asked_for_more_once_half_of_many_have_begun() -> None:
    arrivals = Arrivals(4)
    one, two, three, four = newcomers = [Echo() for _ in range(4)]
    for newcomer in newcomers[:3]:
        arrivals.add(newcomer)
        assert not arrivals.must_wait()
    assert not arrivals.remove(one), "nobody waits"
    for newcomer in (one, four):
        arrivals.add(newcomer)
    assert arrivals.must_wait()
    assert not arrivals.remove(one)
    assert not arrivals.remove(one), "it had begun before"
    assert arrivals.remove(two)
    assert not arrivals.remove(three), "once"
    arrivals.add(three)
    arrivals.add(two)
    arrivals.add(one)
    assert arrivals.must_wait()
    arrivals.forget()
    assert not len(arrivals)
    assert not arrivals.must_wait()


def test_it_is_closed_while_it_waits_for_those_on_their_way(
    until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Foreman(policy=Apart()) as foreman, ExitStack() as stack:
        listener, _ = hold_up(foreman, stack, until)
        second, *_ = [dial(stack, listener.address) for _ in range(MOST_ARRIVING)]
        until(lambda: listener._arrivals._awaited, "waiting for the first two")
        listener.close()
        Echo.on_hold.set()
        second.sendall(b"12hi")
        assert second.recv(4) == b"12hi"
        until(lambda: not len(listener._arrivals), "both to have begun")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
