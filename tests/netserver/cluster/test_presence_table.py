"""Merging what servers tell of a group's members, whatever is lost on the way."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from netserver.cluster.asked import AGAIN, Asked
from netserver.cluster.peers import REMEMBERED, Peers
from netserver.cluster.presence import CHUNK, Change, GroupPresence, Member, Notice

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "tell", "lose"]), st.integers(0, 5), st.integers(0, 2)
    ),
    max_size=60,
)


def member(id: int, data: object = None, server: str = "a") -> Member:
    return Member(f"m{id}", data, server, id)


def give(a: GroupPresence, b: GroupPresence, notices: list[Notice]) -> None:
    """Have one server hear what another tells, and ask for the rest where it must."""
    for notice in notices:
        _, ask = b.take("a", notice, 0.0)
        if ask:
            for part in a.whole():
                b.take_whole("a", part, 0.0)


@given(STEPS)
def test_two_servers_agree_after_any_losses(steps: list[tuple[str, int, int]]) -> None:
    a, b = GroupPresence(), GroupPresence()
    for what, id, data in steps:
        if what == "join":
            a.join(member(id, data))
        elif what == "leave":
            a.leave(id)
        else:
            notices = a.untold()
            if what == "tell":
                give(a, b, notices)
    give(a, b, a.untold(hello=True))
    assert sorted(b.members(), key=lambda m: m.id) == sorted(a.members(), key=lambda m: m.id)


@given(STEPS)
def test_the_changes_that_are_told_add_up(steps: list[tuple[str, int, int]]) -> None:
    a, b = GroupPresence(), GroupPresence()
    seen: dict[int, Member] = {}

    def note(change: Change) -> None:
        for gone in change.went:
            assert seen.pop(gone.id) == gone
        for came in change.came:
            assert came.id not in seen
            seen[came.id] = came

    for what, id, data in steps:
        if what == "join":
            a.join(member(id, data))
        elif what == "leave":
            a.leave(id)
        elif what == "lose":
            note(b.lose("a"))
        else:
            for notice in a.untold():
                change, ask = b.take("a", notice, 0.0)
                note(change)
                if ask:
                    for part in a.whole():
                        note(b.take_whole("a", part, 0.0)[0])
    assert seen == {m.id: m for m in b.members()}


def test_a_large_share_is_told_in_parts_and_counts_once_it_is_whole() -> None:
    a, b = GroupPresence(), GroupPresence()
    for id in range(2 * CHUNK + 1):
        a.join(member(id))
    assert [len(notice.came) for notice in a.untold()] == [CHUNK, CHUNK, 1]
    parts = a.whole()
    assert [part.last for part in parts] == [False, False, True]
    assert b.take_whole("a", parts[0], 0.0) == (Change(), False)
    assert b.take_whole("a", parts[1], 0.0) == (Change(), False)
    change, ask = b.take_whole("a", parts[2], 0.0)
    assert len(change.came) == 2 * CHUNK + 1
    assert not ask
    assert b.take("a", Notice(parts[2].version), 0.0) == (Change(), False)


def test_a_part_of_another_version_begins_anew() -> None:
    a, b = GroupPresence(), GroupPresence()
    for id in range(CHUNK + 1):
        a.join(member(id))
    a.untold()
    b.take_whole("a", a.whole()[0], 0.0)  # and the rest is lost
    for id in range(CHUNK):
        a.leave(id)
    a.untold()
    (part,) = a.whole()
    b.take_whole("a", part, 0.0)
    assert b.members() == [member(CHUNK)]


WAYS = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "tell", "notice", "whole"]), st.integers(0, 3)),
    max_size=60,
)


@given(WAYS)
def test_whole_shares_and_notices_may_overtake_each_other(steps: list[tuple[str, int]]) -> None:
    a, b = GroupPresence(), GroupPresence()
    notices: list[Notice] = []
    wholes: list[Notice] = []

    def hear(way: list[Notice], take: Callable[[str, Notice, float], tuple[Change, bool]]) -> None:
        _, ask = take("a", way.pop(0), 0.0)
        if ask:
            wholes.extend(a.whole())

    for what, id in steps:
        if what == "join":
            a.join(member(id))
        elif what == "leave":
            a.leave(id)
        elif what == "tell":
            notices += a.untold()
        elif what == "notice" and notices:
            hear(notices, b.take)
        elif what == "whole" and wholes:
            hear(wholes, b.take_whole)
    notices += a.untold()
    while notices or wholes:
        hear(notices, b.take) if notices else hear(wholes, b.take_whole)
    assert sorted(b.members(), key=lambda m: m.id) == sorted(a.members(), key=lambda m: m.id)


def test_who_begins_anew_goes_on_with_the_versions() -> None:
    a, b = GroupPresence(), GroupPresence()
    a.join(member(1))
    give(a, b, a.untold())
    a.leave(1)
    a.untold()  # is lost, and a has nobody in the group any more
    a = GroupPresence(a.own.version)
    a.join(member(2))
    give(a, b, a.untold())
    assert b.members() == [member(2)]


def test_the_silent_are_found() -> None:
    a = GroupPresence()
    a.take("x", Notice(0), 1.0)
    a.take_whole("y", Notice(0), 2.0)
    assert a.silent(1.5) == ["x"]
    assert a.silent(3.0) == ["x", "y"]


def test_what_is_not_answered_is_asked_again() -> None:
    asked = Asked()
    assert asked.note("g", "x", 0.0)
    assert not asked.note("g", "x", 0.1)
    assert asked.note("g", "y", 0.1)
    assert asked.note("h", "x", 0.1)
    assert asked.overdue(AGAIN) == [("g", "x")]
    assert asked.overdue(AGAIN + 0.2) == [("g", "y"), ("h", "x")]
    asked.answered("g", "x")
    asked.answered("g", "x")
    asked.part("h")
    assert asked.overdue(10.0) == [("g", "y")]
    asked.answered("g", "y")
    assert asked.overdue(20.0) == []
    assert asked.note("g", "x", 20.0)


def test_a_lost_server_is_asked_anew() -> None:
    a, b = GroupPresence(), GroupPresence()
    a.join(member(1))
    give(a, b, a.untold())
    assert b.lose("a") == Change((), (member(1),))
    assert b.take("a", Notice(a.own.version), 0.0) == (Change(), True)


def peers() -> tuple[Peers, list[str]]:
    calls: list[str] = []
    made = Peers(
        5.0, lambda server: calls.append(f"+{server}"), lambda server: calls.append(f"-{server}")
    )
    return made, calls


def test_a_silent_peer_is_told_once_and_comes_back_with_its_groups() -> None:
    known, calls = peers()
    known.meet("x", "g", 0.0)
    known.meet("x", "h", 0.0)
    assert known.find_dead(5.0) == []
    assert known.find_dead(5.1) == ["x"]
    assert known.find_dead(9.0) == []
    assert len(known) == 0
    assert known.hear("x", 10.0) == {"g", "h"}
    assert known.hear("x", 11.0) == set()
    assert len(known) == 1
    assert calls == ["+x"]


def test_a_peer_is_forgotten_when_nothing_is_in_common_or_after_long() -> None:
    known, calls = peers()
    known.meet("x", "g", 0.0)
    known.part("g")
    assert calls == ["+x", "-x"]
    known.meet("y", "g", 0.0)
    assert known.find_dead(6.0) == ["y"]
    known.find_dead(REMEMBERED + 1)
    assert calls[2:] == ["+y", "-y"]


def test_who_could_not_be_heard_is_excused() -> None:
    known, _ = peers()
    known.meet("x", "g", 0.0)
    known.excuse(100.0)
    assert known.find_dead(104.0) == []
    assert known.find_dead(106.0) == ["x"]
