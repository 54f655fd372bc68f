"""Every kept input, and every seed, in every target: without atheris, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import corpus
from fuzz.errors import Broken
from fuzz.minimise import minimised, reached
from fuzz.oracle import UNLIMITED
from fuzz.seeds import seeds
from fuzz.targets import TARGETS
from netwire import Event, LocalError, MessageTooBig, Request, Requested, State
from netwire.framing import Envelope
from netwire.websocket import WebSocketServer
from netwire.websocket.handshake_server import ServerHandshake


def try_all(target: str, inputs: Iterable[bytes]) -> None:
    for data in inputs:
        try:
            TARGETS[target](data)
        except Exception as error:
            error.add_note(f"{target}: {corpus.to_line(data)}")
            raise


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_keeps_every_promise(target: str) -> None:
    try_all(target, [*seeds(target), *corpus.read(target)])


def test_the_corpus_is_small_and_belongs_to_targets() -> None:
    files = [path for path in corpus.DIRECTORY.iterdir() if path.suffix == ".txt"]
    assert {path.stem for path in files} <= set(TARGETS)
    assert sum(path.stat().st_size for path in files) < 300_000


@given(st.binary(max_size=60))
def test_a_line_gives_its_input_back(data: bytes) -> None:
    line = corpus.to_line(data)
    assert line.isprintable()
    assert not line.startswith("#")
    assert line == line.strip() or not line.endswith(" ")
    assert corpus.from_line(line) == data


def test_a_kept_failure_stays_when_the_corpus_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "DIRECTORY", tmp_path)
    corpus.write("raw", [b"b\n", b"\\a", b""])
    corpus.add("raw", b"# \xff", "was lost")
    assert (tmp_path / "raw.txt").read_text() == "# was lost\n\\x23 \\xff\n\\x5ca\nb\\x0a\n"
    corpus.write("raw", [b"new"])
    assert corpus.read("raw") == [b"# \xff", b"new"]


def test_what_reaches_nothing_new_is_not_kept() -> None:
    one, same, two = b"\0\x0015hello", b"\0\x0015horse", b"\0\x0015hello15world"
    assert reached("envelope", one) == reached("envelope", same)
    assert minimised("envelope", [two, one, one]) == [one, two]
    assert minimised("envelope", [two, one], given=[same]) == [two]


# Defects, each made on purpose: a target that lets one pass is of no use.


def raising(wire: WebSocketServer, data: bytes) -> list[Event]:
    raise MessageTooBig(1, 1)


def deaf(wire: WebSocketServer, data: bytes) -> list[Event]:
    return []


def forgetful(wire: WebSocketServer, data: bytes) -> list[Event]:
    wire._held = b""
    return RECEIVE(wire, data)


def talkative(wire: WebSocketServer, data: bytes) -> list[Event]:
    return RECEIVE(wire, data) or [b"more"] * (wire.state is State.CLOSED)


def unanswering(wire: WebSocketServer, error: object) -> bytes:
    return b""


def unlimited(wire: WebSocketServer, data: bytes) -> list[Event]:
    wire._limits = UNLIMITED
    wire._max_message = UNLIMITED.message
    return RECEIVE(wire, data)


def hoarding(wire: WebSocketServer, data: bytes) -> list[Event]:
    wire.subprotocol = (wire.subprotocol or "") + "x" * 1000 * len(data)
    return RECEIVE(wire, data)


def undivided(wire: Envelope, data: bytes, into: list[bytes]) -> None:
    into.append(data)


def credulous(handshake: ServerHandshake, data: bytes) -> Iterator[Event]:
    yield Requested(Request())


RECEIVE = WebSocketServer.receive
DEFECTS: list[tuple[str, type, str, Callable[..., object]]] = [
    ("websocket-server", WebSocketServer, "receive", raising),
    ("websocket-server", WebSocketServer, "receive", deaf),
    ("websocket-server", WebSocketServer, "receive", forgetful),
    ("websocket-server", WebSocketServer, "receive", talkative),
    ("websocket-server", WebSocketServer, "receive", hoarding),
    ("websocket-server", WebSocketServer, "_failure_reply", unanswering),
    ("websocket-server", WebSocketServer, "receive", unlimited),
    ("envelope", Envelope, "decode", undivided),
    ("server-handshake", ServerHandshake, "receive", credulous),
]


@pytest.mark.parametrize(
    ("target", "where", "name", "defect"), DEFECTS, ids=[each[3].__name__ for each in DEFECTS]
)
def test_a_defect_is_found(
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    where: type,
    name: str,
    defect: Callable[..., object],
) -> None:
    TARGETS[target](b"")  # what a target keeps is made before the defect
    monkeypatch.setattr(where, name, defect)
    with pytest.raises((Broken, MessageTooBig, LocalError)):
        try_all(target, seeds(target))
