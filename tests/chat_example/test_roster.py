"""Who is where, as the servers tell each other: pure."""

from __future__ import annotations

import pytest

from chat_example.protocol import Joined, Left, Renamed
from chat_example.roster import Place, Roster
from netserver import Member


def at(nick: str, room: str = "lobby", server: str = "one", id: int = 1, visit: int = 1) -> Member:
    return Member(nick, Place(nick, room, visit).data, server, id)


def test_coming_moving_and_going() -> None:
    roster = Roster()
    assert roster.change([at("ada")], []) == [Joined(room="lobby", nick="ada")]
    assert roster.change([at("bob", id=2)], []) == [Joined(room="lobby", nick="bob")]
    assert roster.people("lobby") == ["ada", "bob"]
    assert roster.change([at("ada", "tea", visit=2)], [at("ada")]) == [
        Left(room="lobby", nick="ada", why="went to #tea"),
        Joined(room="tea", nick="ada"),
    ]
    assert roster.rooms() == {"lobby": 1, "tea": 1}
    assert roster.change([at("Eve", "tea", visit=2)], [at("ada", "tea", visit=2)]) == [
        Renamed(room="tea", old="ada", new="Eve")
    ]
    assert (roster.spelling("EVE"), roster.spelling("ada")) == ("Eve", None)
    assert roster.change([], [at("Eve", "tea", visit=2)]) == [
        Left(room="tea", nick="Eve", why="left")
    ]
    assert roster.rooms() == {"lobby": 1}
    assert roster.people("tea") == []


def test_the_same_numbers_on_two_servers_are_two_people() -> None:
    roster = Roster()
    roster.change([at("ada"), at("bob", server="two")], [])
    assert roster.change([], [at("ada")]) == [Left(room="lobby", nick="ada", why="left")]
    assert roster.people("lobby") == ["bob"]


@pytest.mark.parametrize("visit", [1, 2])
def test_who_comes_back_before_they_are_missed_was_never_gone(visit: int) -> None:
    roster = Roster()
    roster.change([at("ada")], [])
    assert roster.change([at("ada", server="two", visit=visit)], []) == []
    assert roster.people("lobby") == ["ada"]
    assert roster.rooms() == {"lobby": 1}
    assert roster.change([], [at("ada")]) == []
    assert roster.change([], [at("ada", server="two", visit=visit)]) == [
        Left(room="lobby", nick="ada", why="left")
    ]


def test_who_comes_back_to_another_room_has_left_the_first_in_the_end() -> None:
    roster = Roster()
    roster.change([at("ada")], [])
    assert roster.change([at("ada", "tea", server="two")], []) == [Joined(room="tea", nick="ada")]
    assert roster.change([], [at("ada")]) == [Left(room="lobby", nick="ada", why="left")]


@pytest.mark.parametrize("data", [None, 5, {}, [], ["ada"], ["ada", "lobby", "1"], ["ada", 1, 1]])
def test_what_makes_no_sense_is_nobody(data: object) -> None:
    roster = Roster()
    assert roster.change([Member("ada", data, "one", 1)], []) == []
    assert roster.rooms() == {}
    assert roster.change([], [Member("ada", data, "one", 1)]) == []


def test_who_was_never_there_does_not_leave() -> None:
    assert Roster().change([], [at("ada")]) == []
