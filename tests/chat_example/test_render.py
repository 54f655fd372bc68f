"""What a person reads in the terminal, and what Tab offers: pure."""

from __future__ import annotations

import asyncio

import pytest

from chat_example import protocol
from chat_example.protocol import (
    Bye,
    Did,
    Error,
    FromServer,
    Help,
    History,
    Joined,
    Left,
    People,
    Renamed,
    Room,
    Rooms,
    Said,
    Welcome,
    Whispered,
)
from chat_example.render import colour, plain, render
from chat_example.session import Item, Notice, Session

SHOWN: list[tuple[Item, list[str]]] = [
    (Welcome(nick="ada", ticket="", commands=[]), ["* welcome, ada; /help lists the commands"]),
    (Room(room="tea", people=["ada"]), ["* you are in #tea with nobody else yet"]),
    (Room(room="tea", people=["ada", "bob", "cy"]), ["* you are in #tea with bob, cy"]),
    (
        History(room="tea", recovered=False, position=""),
        ["* not everything that was said meanwhile may be here"],
    ),
    (Joined(room="tea", nick="bob"), ["* bob came in"]),
    (Left(room="tea", nick="bob", why="went to #lobby"), ["* bob went to #lobby"]),
    (Renamed(room="tea", old="bob", new="rob"), ["* bob is called rob now"]),
    (Renamed(room="tea", old="eve", new="ada"), ["* you are called ada now"]),
    (Said(room="tea", nick="bob", text="hi"), ["bob: hi"]),
    (Did(room="tea", nick="bob", text="waves"), ["* bob waves"]),
    (Whispered(sender="bob", to="ada", text="hi"), ["bob to you, in private: hi"]),
    (Whispered(sender="ada", to="bob", text="hi"), ["you to bob, in private: hi"]),
    (People(room="tea", people=["ada", "bob"]), ["* in #tea: ada, bob"]),
    (People(room="tea", people=[]), ["* in #tea: nobody"]),
    (Rooms(rooms={"lobby": 2, "tea": 1}), ["* rooms: #lobby (2), #tea (1)"]),
    (
        Help(commands={"/me TEXT": "do", "/quit": "leave"}),
        ["* what you can type:", "  /me TEXT  do", "  /quit     leave"],
    ),
    (Error(code="usage", text="no"), ["! no"]),
    (Bye(text="goodbye"), ["* goodbye"]),
    (Notice("lost"), ["* lost"]),
]


@pytest.mark.parametrize(("item", "lines"), SHOWN)
def test_lines(item: Item, lines: list[str]) -> None:
    assert [plain(line) for line in render(item, "ada")] == lines


def test_every_message_is_shown() -> None:
    assert {type(item) for item, _ in SHOWN} == {*protocol.FROM_SERVER.values(), Notice}


def test_a_mention_stands_out() -> None:
    ((*_, (style, _)),) = render(Said(room="tea", nick="bob", text="well, Ada?"), "ada")
    assert style == "bold"
    ((*_, (style, _)),) = render(Said(room="tea", nick="ada", text="I, ada"), "ada")
    assert style == ""


def test_a_nickname_keeps_its_colour() -> None:
    assert colour("ada") == colour("ADA")
    assert len({colour(f"p{n}") for n in range(50)}) > 3


def test_what_a_client_knows_and_completes() -> None:
    async def scenario() -> None:
        session = Session("tcp://127.0.0.1:1", "ada", "lobby", lambda item: None)

        async def hear(*messages: FromServer) -> None:
            for message in messages:
                await session._on_message(protocol.encode(message))

        await hear(
            Welcome(nick="ada", ticket="t", commands=["join", "msg", "me"]),
            Room(room="lobby", people=["ada", "Bob", "bea"]),
            Rooms(rooms={"lobby": 3, "tea": 1, "ted": 1}),
            Joined(room="elsewhere", nick="bill"),
        )
        assert session.completions("/m") == ["/msg", "/me"]
        assert session.completions("/msg b") == ["Bob", "bea"]
        assert session.completions("/join te") == ["tea", "ted"]
        assert session.completions("hello B") == ["Bob", "bea"]
        await hear(
            Left(room="lobby", nick="bea", why="left"),
            Left(room="elsewhere", nick="Bob", why="left"),
            Renamed(room="lobby", old="ada", new="eve"),
        )
        assert session.people == {"Bob", "eve"}
        assert session.nick == "eve"

    asyncio.run(scenario())


def test_a_server_that_makes_no_sense_is_reported() -> None:
    async def scenario() -> None:
        items: list[Item] = []
        session = Session("tcp://127.0.0.1:1", "ada", "lobby", items.append)
        await session._on_message(b"\xff")
        (item,) = items
        assert isinstance(item, Notice)
        assert "not understood" in item.text

    asyncio.run(scenario())
