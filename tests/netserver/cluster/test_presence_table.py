"""Merging what servers tell of a group's members, whatever is lost on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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
        _, ask = b.take("a", notice)
        if ask:
            for part in a.whole():
                b.take_whole("a", part)


@given(STEPS)
def test_two_servers_agree_after_any_losses(steps: list[tuple[str, int, int]]) -> None:
    a, b = GroupPresence("a"), GroupPresence("b")
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
    a, b = GroupPresence("a"), GroupPresence("b")
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
                change, ask = b.take("a", notice)
                note(change)
                if ask:
                    for part in a.whole():
                        note(b.take_whole("a", part))
    assert seen == {m.id: m for m in b.members()}


def test_a_large_share_is_told_in_parts_and_counts_once_it_is_whole() -> None:
    a, b = GroupPresence("a"), GroupPresence("b")
    for id in range(2 * CHUNK + 1):
        a.join(member(id))
    assert [len(notice.came) for notice in a.untold()] == [CHUNK, CHUNK, 1]
    parts = a.whole()
    assert [part.last for part in parts] == [False, False, True]
    assert not b.take_whole("a", parts[0])
    assert not b.take_whole("a", parts[1])
    assert len(b.take_whole("a", parts[2]).came) == 2 * CHUNK + 1
    assert b.take("a", Notice(parts[2].version)) == (Change(), False)


def test_a_lost_server_is_asked_anew() -> None:
    a, b = GroupPresence("a"), GroupPresence("b")
    a.join(member(1))
    give(a, b, a.untold())
    assert b.lose("a") == Change((), (member(1),))
    assert b.take("a", Notice(a.own.version)) == (Change(), True)


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
