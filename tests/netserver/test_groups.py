"""Groups, and broadcasts to them."""

from __future__ import annotations

from typing import Any

import pytest

from netclient import blocking
from netserver import Connection, Groups


class Silent(Connection):
    pass


def test_joining_and_leaving() -> None:
    groups = Groups()
    one, two = Silent(), Silent()
    assert groups.join(one, "a") is True
    assert groups.join(one, "a") is False
    assert groups.join(two, "a") is True
    assert groups.join(one, "b") is True
    assert groups.members("a") == [one, two]
    assert groups.of(one) == {"a", "b"}
    assert sorted(groups) == ["a", "b"]
    assert "a" in groups
    assert len(groups) == 2
    assert groups.leave(one, "b") is True
    assert groups.leave(one, "b") is False
    assert groups.leave(two, "b") is False
    assert "b" not in groups
    groups.leave_all(one)
    groups.leave_all(one)
    assert groups.members("a") == [two]
    assert groups.leave(two, "a") is True
    assert groups.members("a") == []
    assert groups.of(two) == frozenset()
    assert len(groups) == 0
    assert groups.leave(two, "a") is False


@pytest.mark.parametrize("name", ["", None, 1, b"x"])
def test_a_name_that_is_none(name: Any) -> None:
    with pytest.raises(ValueError, match="group's name"):
        Groups().join(Silent(), name)


def test_broadcasting(site: Any) -> None:
    listeners = [site.listen(f"{scheme}://127.0.0.1:0", Silent) for scheme in ("ws", "tcp", "tcp")]
    clients = [blocking.Client(site.url(each), reconnect=None) for each in listeners]
    opened: list[Connection] = []
    for number, client in enumerate(clients):
        client.connect()
        opened.append(site.journal.until("open", number + 1)[-1][1])
    assert opened[0].join("g") is True
    assert opened[1].join("g") is True
    assert set(opened[1].groups) == {"g"}
    assert site.server.broadcast(b"everybody") == 3
    assert site.server.broadcast(b"group", "g") == 2
    assert site.server.broadcast(b"not one", "g", exclude=opened[0]) == 1
    assert site.server.broadcast(b"neither", "g", exclude=opened) == 0
    assert site.server.broadcast(b"nobody", "no such group") == 0
    assert opened[1].leave("g") is True
    assert opened[1].leave("g") is False
    assert site.server.broadcast(b"last", "g") == 1
    said = [
        [b"everybody", b"group", b"last"],
        [b"everybody", b"group", b"not one"],
        [b"everybody"],
    ]
    for client, messages in zip(clients, said, strict=True):
        assert [client.recv(10) for _ in messages] == messages
        client.close()
    site.journal.until("close", 3)
    assert opened[0].join("late") is False
    assert len(site.server.groups) == 0


def test_a_broadcast_passes_over_who_is_not_open(site: Any, gate: Any) -> None:
    class Gated(Connection):
        async def on_connect(self, request: object) -> None:
            self.join("g")
            await gate.passed()

    with site.dial(site.listen("tcp://127.0.0.1:0", Gated)) as sock:
        assert gate.reached.wait(10)
        assert site.server.broadcast(b"x", "g") == 0
        assert site.server.groups.members("g")[0].send(b"x") is False
        assert site.server.connections == ()
        gate.open()
        site.journal.until("open")
        assert site.server.broadcast(b"y", "g") == 1
        assert sock.recv(10) == b"11y"
