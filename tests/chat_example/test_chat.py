"""The chat over real sockets: people on WebSocket and on TCP at once."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from chat_example.protocol import (
    FROM_SERVER,
    MESSAGE_LIMIT,
    Bye,
    Did,
    Error,
    Hello,
    Help,
    Joined,
    Left,
    Line,
    People,
    Renamed,
    Room,
    Rooms,
    Said,
    Welcome,
    Whispered,
    decode,
    encode,
)
from chat_example.rules import BURST, TEXT_LIMIT
from chat_example.server import PATIENCE as FLOOD_PATIENCE
from netclient import ConnectionClosed, HandshakeRefused
from netclient.blocking import Client

if TYPE_CHECKING:
    from tests.chat_example.conftest import Chat, Person, Visit

both_ways = pytest.mark.parametrize("scheme", ["ws", "tcp"])


def error(person: Person) -> str:
    return person.expect(Error).code


def test_people_on_both_transports_talk(chat: Chat, visit: Visit) -> None:
    ada = visit(chat.ws)
    assert ada.hello("ada").people == ["ada"]
    bob = visit(chat.tcp)
    assert bob.hello("bob").people == ["ada", "bob"]
    assert ada.expect(Joined) == Joined(room="lobby", nick="bob")
    ada.says("hello")
    bob.says("/me waves")
    for person in (ada, bob):
        heard = {type(message): message for message in (person.expect(Said), person.expect(Said))}
        assert {kind: (line.room, line.nick, line.text) for kind, line in heard.items()} == {
            Said: ("lobby", "ada", "hello"),
            Did: ("lobby", "bob", "waves"),
        }


@both_ways
def test_text_and_bytes_are_the_same_json(chat: Chat, visit: Visit, scheme: str) -> None:
    ada = visit(chat.url(scheme))
    ada.send(b'{"type":"hello","nick":"ada"}')
    assert ada.expect(Welcome).nick == "ada"
    ada.expect(Room)
    ada.send('{"type":"line","text":"Zo\\u00eb"}')
    assert ada.expect(Said).text == "Zoë"


@both_ways
def test_a_nickname_belongs_to_one(chat: Chat, visit: Visit, scheme: str) -> None:
    ada = visit(chat.ws, "ada")
    other = visit(chat.url(scheme))
    for nick in ("ada", "ADA", "\uff21da"):
        other.send(Hello(nick=nick))
        assert error(other) == "nick-taken"
    other.hello("bob")
    assert ada.expect(Joined).nick == "bob"
    other.says("/nick Ada")
    assert error(other) == "nick-taken"
    other.says("/nick BOB")
    for person in (ada, other):
        assert person.expect(Renamed) == Renamed(room="lobby", old="bob", new="BOB")
    ada.says("/nick eve")
    other.expect(Renamed)
    other.says("/nick ada")
    assert other.expect(Renamed).new == "ada"


def test_many_want_the_same_nickname_at_once(chat: Chat, visit: Visit) -> None:
    people = [visit(chat.url(scheme)) for scheme in ("ws", "tcp") * 8]
    start = threading.Barrier(len(people))
    answers: list[object] = []

    def ask(person: Person) -> None:
        start.wait()
        person.send(Hello(nick="ada"))
        answers.append(type(person.next()))

    threads = [threading.Thread(target=ask, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == sorted(map(str, [Welcome] + [Error] * (len(people) - 1)))
    assert chat.server.chat.people("lobby") == ["ada"]


def test_rooms(chat: Chat, visit: Visit) -> None:
    ada, bob = visit(chat.ws, "ada"), visit(chat.tcp, "bob")
    ada.expect(Joined)
    bob.says("/join #Tea")
    assert bob.expect(Room) == Room(room="tea", people=["bob"])
    assert ada.expect(Left) == Left(room="lobby", nick="bob", why="went to #tea")
    ada.says("only for the lobby")
    ada.expect(Said)
    bob.says("only for tea")
    said = bob.hear("only for tea")
    assert (said.room, said.nick) == ("tea", "bob")
    ada.says("/rooms")
    assert ada.expect(Rooms).rooms == {"lobby": 1, "tea": 1}
    ada.says("/who tea")
    assert ada.expect(People) == People(room="tea", people=["bob"])
    ada.says("/who nowhere")
    assert ada.expect(People).people == []
    bob.says("/leave")
    assert bob.expect(Room).people == ["ada", "bob"]
    bob.hear("only for the lobby")  # said while bob was away
    assert ada.expect(Joined).nick == "bob"
    bob.says("/leave")
    assert error(bob) == "same-room"
    bob.says("/join lobby")
    assert error(bob) == "same-room"
    ada.says("/rooms")
    assert ada.expect(Rooms).rooms == {"lobby": 2}


def test_private_messages(chat: Chat, visit: Visit) -> None:
    ada = visit(chat.ws, "ada")
    bob = visit(chat.tcp, "bob", "tea")
    eve = visit(chat.tcp, "eve", "tea")
    bob.expect(Joined)
    ada.says("/msg BOB between us")
    for person in (ada, bob):
        assert person.expect(Whispered) == Whispered(sender="ada", to="bob", text="between us")
    ada.says("/msg nobody hello")
    assert error(ada) == "nobody"
    bob.says("end")
    assert eve.expect(Said).text == "end"
    ada.says("/msg ada note to myself")
    ada.expect(Whispered)
    ada.says("/who")
    ada.expect(People)


def test_commands(chat: Chat, visit: Visit) -> None:
    ada = visit(chat.tcp)
    ada.send(Hello(nick="ada"))
    names = ada.expect(Welcome).commands
    ada.expect(Room)
    ada.says("/help")
    shown = ada.expect(Help).commands
    assert [usage.split()[0] for usage in shown] == [f"/{name}" for name in names]
    for line, code in [
        ("/bogus", "unknown-command"),
        ("/", "unknown-command"),
        ("/msg bob", "usage"),
        ("/me", "usage"),
        ("/quit now", "usage"),
        ("/nick a b", "bad-nick"),
    ]:
        ada.says(line)
        assert error(ada) == code, line


def test_two_slashes_are_one(chat: Chat, visit: Visit) -> None:
    ada = visit(chat.tcp, "ada")
    ada.says("//help is a command")
    assert ada.expect(Said).text == "/help is a command"
    ada.says("/HELP")
    ada.expect(Help)


@both_ways
def test_goodbye(chat: Chat, visit: Visit, scheme: str) -> None:
    ada, bob = visit(chat.ws, "ada"), visit(chat.url(scheme), "bob")
    ada.expect(Joined)
    bob.says("/quit")
    bob.expect(Bye)
    assert ada.expect(Left) == Left(room="lobby", nick="bob", why="left")
    ada.says("/msg bob hello")
    assert error(ada) == "nobody"
    bob.says("hello?")
    assert error(bob) == "say-hello"
    bob.hello("bob", "tea")
    visit(chat.tcp, "cy", "tea")
    assert bob.expect(Joined).nick == "cy"
    bob.client.close()
    ada.says("/msg cy is bob there?")
    ada.expect(Whispered)


@both_ways
def test_somebody_vanishes(chat: Chat, visit: Visit, scheme: str) -> None:
    ada = visit(chat.ws, "ada")
    with socket.create_connection(("127.0.0.1", int(chat.url(scheme).split(":")[-1]))) as sock:
        if scheme == "ws":
            sock.sendall(
                b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            while not sock.recv(4096).endswith(b"\r\n\r\n"):
                pass
            hello = b'{"type":"hello","nick":"bob"}'
            sock.sendall(b"\x81" + bytes([0x80 | len(hello)]) + b"\0\0\0\0" + hello)
        else:
            sock.sendall(b'229{"type":"hello","nick":"bob"}')
        assert ada.expect(Joined).nick == "bob"
    assert ada.expect(Left).nick == "bob"
    assert visit(chat.tcp).hello("bob").people == ["ada", "bob"]


def test_coming_back_with_a_ticket(chat: Chat, visit: Visit) -> None:
    ada = visit(chat.ws, "ada")
    bob = visit(chat.tcp, "bob")
    ada.expect(Joined)
    again = visit(chat.tcp)
    again.send(Hello(nick="bob", ticket="guessed"))
    assert error(again) == "nick-taken"
    assert again.hello("bob", "tea", bob.ticket).people == ["bob"]
    with pytest.raises(ConnectionClosed):
        bob.next()
    assert ada.expect(Left).nick == "bob"
    again.says("/who lobby")
    assert again.expect(People).people == ["ada"]
    again.says("/msg bob still me")
    again.expect(Whispered)


@both_ways
@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("hello?", "not-json"),
        (b"\xff", "not-json"),
        ("[" * 20_000, "not-json"),
        ('{"type":"shutdown"}', "unknown-type"),
        ('{"type":"hello","nick":"eve"}', "said-hello"),
        ('{"type":"line"}', "bad-fields"),
        ('{"type":"line","text":"  "}', "empty"),
        ('{"type":"line","text":"\\u001b[2J"}', "bad-text"),
        (json.dumps({"type": "line", "text": "x" * (TEXT_LIMIT + 1)}), "too-long"),
        (json.dumps({"type": "line", "text": "/nick " + "x" * 25}), "bad-nick"),
        (json.dumps({"type": "line", "text": "/join a/b"}), "bad-room"),
    ],
)
def test_bad_input_is_answered_and_harms_nobody(
    chat: Chat, visit: Visit, scheme: str, data: bytes | str, code: str
) -> None:
    ada = visit(chat.ws, "ada")
    bob = visit(chat.url(scheme), "bob")
    ada.expect(Joined)
    bob.send(data)
    assert error(bob) == code
    bob.says("still here")
    assert ada.expect(Said).text == "still here"


def test_a_page_from_elsewhere_is_turned_away(chat: Chat) -> None:
    own = chat.page.rstrip("/")
    for origin in ("https://evil.example", "null", f"{own}.evil.example", f"{own}, {own}"):
        with pytest.raises(HandshakeRefused) as refused:
            Client(chat.ws, origin=origin).connect()
        assert refused.value.status == 403
    with Client(chat.ws, origin=own) as client:
        client.send(encode(Hello(nick="ada")))
        assert isinstance(decode(client.recv(20), FROM_SERVER), Welcome)


def test_nothing_but_hello_comes_first(chat: Chat, visit: Visit) -> None:
    ada, stranger = visit(chat.ws, "ada"), visit(chat.tcp)
    stranger.send(Line(text="/msg ada boo"))
    assert error(stranger) == "say-hello"
    stranger.send(b'{"type":"hello","nick":"a b"}')
    assert error(stranger) == "bad-nick"
    stranger.hello("bob")
    assert ada.expect(Joined).nick == "bob"


@both_ways
def test_a_message_over_the_limit_ends_its_sender_only(
    chat: Chat, visit: Visit, scheme: str
) -> None:
    ada, bob = visit(chat.ws, "ada"), visit(chat.url(scheme), "bob")
    ada.expect(Joined)
    bob.send("x" * (MESSAGE_LIMIT + 1))
    with pytest.raises(ConnectionClosed) as closed:
        bob.next()
    assert closed.value.code == 1009 or scheme == "tcp"
    assert ada.expect(Left).nick == "bob"


@both_ways
def test_a_flood_is_stopped(chat: Chat, visit: Visit, scheme: str) -> None:
    ada, bob = visit(chat.ws, "ada"), visit(chat.url(scheme), "bob")
    ada.expect(Joined)
    heard: list[object] = []

    def listen() -> None:
        try:
            while True:
                heard.append(bob.next())
        except ConnectionClosed:
            return

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        for number in range(BURST + 4 * FLOOD_PATIENCE):
            bob.says(f"spam {number}")
    except ConnectionClosed:
        pass  # stopped already
    listener.join()
    errors = [message for message in heard if isinstance(message, Error)]
    assert {message.code for message in errors} == {"too-fast"}
    passed = 0
    while isinstance(message := ada.next(), Said):
        passed += 1
    assert isinstance(message, Left)
    # The hello was one of the burst.
    assert BURST - 1 <= passed < BURST + FLOOD_PATIENCE
    assert len(errors) <= passed


def test_everybody_knows_who_is_here_in_the_end(chat: Chat, visit: Visit) -> None:
    """People come and go on many threads at once, and everyone's list comes out right."""
    people = [visit(chat.url(scheme), f"p{n}") for n, scheme in enumerate(("ws", "tcp") * 5)]
    everybody = {f"p{number}" for number in range(len(people))}
    moved = threading.Barrier(len(people))
    right: set[int] = set()

    def live(number: int) -> None:
        person = people[number]
        for room in ("tea", "lobby") * 3:
            person.says(f"/join {room}")
        person.says("/who")
        room, here, over = "lobby", set[str](), False
        while not over:
            match person.next():
                case Room() as message:
                    room, here = message.room, set(message.people)
                case Joined() as message if message.room == room:
                    here.add(message.nick)
                case Left() as message if message.room == room:
                    here.discard(message.nick)
                case Joined() | Left():
                    pass
                case People():  # all moves were taken, and come before what is said from now on
                    moved.wait()
                    if number == 0:
                        person.says("end")
                case Said():
                    over = True
                case message:
                    raise AssertionError(message)
        assert room == "lobby"
        assert here == everybody
        right.add(number)

    threads = [threading.Thread(target=live, args=(n,)) for n in range(len(people))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == set(range(len(people)))
