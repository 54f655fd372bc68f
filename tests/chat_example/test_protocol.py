"""What may be said: pure, from JSON to messages and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import fields
from hypothesis import given
from hypothesis import strategies as st

from chat_example import protocol, rules
from chat_example.protocol import FROM_CLIENT, FROM_SERVER, Hello, Line, Whispered, decode, encode
from chat_example.rules import ChatError, Pace, check_nick, check_room, check_text, nick_key

# One value for each type of field there is.
VALUES: dict[str, Any] = {"str": "lobby", "list[str]": ["ada"], "dict[str, int]": {"lobby": 2}}
VALUES |= {"dict[str, str]": {"/help": "this list"}, "bool": True, "float": 1.5}


def value(attribute: Any) -> Any:
    """Something that the field of a message may be."""
    return "" if attribute.name == "since" else VALUES[attribute.type]


def refusal(data: bytes | str) -> str:
    with pytest.raises(ChatError) as caught:
        decode(data, FROM_CLIENT)
    return caught.value.code


@pytest.mark.parametrize("kind", [*FROM_CLIENT.values(), *FROM_SERVER.values()])
def test_every_message_survives_the_way(kind: Any) -> None:
    known: Any = FROM_CLIENT if kind.__name__.lower() in FROM_CLIENT else FROM_SERVER
    message = kind(**{each.name: value(each) for each in fields(kind)})
    assert decode(encode(message), known) == message
    assert decode(encode(message).encode(), known) == message


@pytest.mark.parametrize("kind", [*FROM_CLIENT.values(), *FROM_SERVER.values()])
@pytest.mark.parametrize("wrong", [None, 5, [5], {"a": []}])
def test_every_field_is_checked(kind: Any, wrong: object) -> None:
    known: Any = FROM_CLIENT if kind.__name__.lower() in FROM_CLIENT else FROM_SERVER
    good: dict[str, Any] = {each.name: value(each) for each in fields(kind)}
    for each in fields(kind):
        if each.type == "float" and wrong == 5:
            continue  # a whole number is one
        bad = json.dumps({"type": kind.__name__.lower(), **good, each.name: wrong})
        with pytest.raises(ChatError, match="has the fields"):
            decode(bad, known)


def test_fields_left_out_and_fields_nobody_knows() -> None:
    assert decode('{"type":"hello","nick":"ada","future":[]}', FROM_CLIENT) == Hello(nick="ada")
    assert refusal('{"type":"hello"}') == "bad-fields"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not-json"),
        (b"hello", "not-json"),
        (b"\xff\xfe{\x00}\x00", "not-json"),
        ('{"type":"line","text":"a"}'.encode("utf-16"), "not-json"),
        (b"[" * 30_000, "not-json"),
        (b'{"a":' * 6_000, "not-json"),
        (b"1" * 30_000, "not-json"),
        ("null", "not-json"),
        ('["line"]', "not-json"),
        ("{}", "unknown-type"),
        ('{"type":"said","room":"lobby","nick":"a","text":"b"}', "unknown-type"),
        ('{"type":["line"]}', "unknown-type"),
        ('{"type":"__class__"}', "unknown-type"),
        ('{"type":"line","text":"\\ud800"}', "bad-text"),
        ('{"type":"hello","nick":"\\udfff"}', "bad-nick"),
        ('{"type":"hello","nick":"a","ticket":"é"}', "bad-ticket"),
        ('{"type":"hello","nick":"a","ticket":"' + "a" * 65 + '"}', "bad-ticket"),
        ('{"type":"hello","nick":"a","since":"5@"}', "bad-since"),
        ('{"type":"hello","nick":"a","since":"-5@a"}', "bad-since"),
        ('{"type":"hello","nick":"a","since":"5@' + "a" * 65 + '"}', "bad-since"),
    ],
)
def test_hostile_json(data: bytes | str, code: str) -> None:
    assert refusal(data) == code


@given(st.binary() | st.text())
def test_anything_is_a_message_or_an_error(data: bytes | str) -> None:
    with pytest.raises(ChatError):
        decode(data, FROM_CLIENT)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_value_in_a_field_is_taken_or_refused(value: object) -> None:
    try:
        message = decode(json.dumps({"type": "line", "text": value}), FROM_CLIENT)
    except ChatError:
        return
    assert isinstance(message, Line)
    assert encode(message).encode()


@pytest.mark.parametrize("nick", ["ada", "Zoë", "日本", "a" * 24, "🦊", "<b>", "x/y"])
def test_nicknames(nick: str) -> None:
    assert check_nick(f" {nick} ") == nick


@pytest.mark.parametrize(
    "nick",
    ["", "   ", "a" * 25, "a b", "a\nb", "\x1b[2J", "a\u202eb", "a\u200bb", "a\x00", "/help"],
)
def test_nicknames_refused(nick: str) -> None:
    with pytest.raises(ChatError, match="nickname"):
        check_nick(nick)


def test_nicknames_that_look_alike_are_the_same() -> None:
    assert nick_key("Ada") == nick_key("ada") == nick_key("\uff41da")
    assert check_nick("Zoe\u0308") == check_nick("Zo\u00eb")


def test_rooms() -> None:
    assert check_room("#Tea.Time ") == "tea.time"
    for room in ("", "#", "a b", "a/b", "x" * 33, "\x1b", "##a"):
        with pytest.raises(ChatError, match="room"):
            check_room(room)


def test_lines() -> None:
    assert check_text("  a\tb 🦊 ") == "a\tb 🦊"
    assert check_text("é" * (rules.TEXT_LIMIT // 2))
    for text, code in [
        ("", "empty"),
        (" \n ", "empty"),
        ("a\nb", "bad-text"),
        ("a\x1b[2Jb", "bad-text"),
        ("a\x9b2Jb", "bad-text"),
        ("a\u2028b", "bad-text"),
        ("é" * (rules.TEXT_LIMIT // 2) + "e", "too-long"),
    ]:
        with pytest.raises(ChatError) as caught:
            check_text(text)
        assert caught.value.code == code


def test_the_longest_line_fits_a_message_however_it_is_escaped() -> None:
    escaped = "\\u0041" * rules.TEXT_LIMIT
    data = f'{{"type": "line", "text": "{escaped}"}}'
    assert len(data) <= protocol.MESSAGE_LIMIT
    assert decode(data, FROM_CLIENT) == Line(text="A" * rules.TEXT_LIMIT)


def test_text_is_sent_as_it_is() -> None:
    data = encode(Whispered(sender="Zoë", to="ada", text='<b>"日本"</b>'))
    assert data == '{"type":"whispered","sender":"Zoë","to":"ada","text":"<b>\\"日本\\"</b>"}'


def test_pace() -> None:
    pace = Pace(rate=2.0, burst=3, now=100.0)
    assert [pace.spend(100.0) for _ in range(4)] == [2, 1, 0, -1]
    assert pace.spend(100.5) == -1
    assert pace.spend(102.0) == 1
    assert pace.spend(1000.0) == 2
