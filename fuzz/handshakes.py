"""Targets: the opening handshake of a WebSocket, in both roles."""

from __future__ import annotations

import h11
from wsproto.utilities import generate_accept_token

from fuzz.errors import demand, demand_equal
from fuzz.inputs import Input
from fuzz.invariants import Outcome, check_end, check_memory, feed, outcome
from fuzz.websockets import ours
from netwire import (
    Failed,
    HandshakeError,
    LocalError,
    Opened,
    PlainRequest,
    Request,
    Requested,
    Response,
    State,
)
from netwire.websocket import WebSocketClient, WebSocketServer

TOKEN = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What the client takes for its token, whatever its key is: that of RFC 6455, section 1.3."""

SUBPROTOCOLS = ("chat", "superchat")
_SUBPROTOCOLS = 2
"""The option that the client offers subprotocols, or that the server accepts one."""


def server_handshake(data: bytes) -> None:
    """What a client sends from its first byte on, as a server meets it."""
    given = Input.parse(data)
    stream, limits = given.stream, given.limits
    seen: list[Outcome] | None = None
    for pieces in given.splits():
        wire = WebSocketServer(limits)
        events = feed(wire, pieces)
        found = [outcome(event) for event in events]
        if seen is None:
            seen = found
        demand_equal(found, seen, "a split changes nothing")
        check_memory(wire, len(stream), 4 * limits.head)
        match events:
            case []:
                demand_equal(wire.state, State.CONNECTING, "nothing came yet")
                try:
                    wire.accept()
                except LocalError:
                    pass
                else:
                    demand(False, "nothing is accepted before it is asked for")
            case [Failed(error, reply)] | [Requested(), Failed(error, reply)]:
                too_much = len(_behind(stream)) > limits.head
                demand(len(events) == 1 or too_much, "what is early is kept up to the limit")
                demand(isinstance(error, HandshakeError), "a handshake fails as one", error)
                assert isinstance(error, HandshakeError)
                _check_answer(reply, error.status, b"HEAD" in stream)
            case [PlainRequest(request)]:
                demand_equal(wire.receive_eof(), [], "who half-closes may be answered")
                demand_equal(wire.receive(b"more"), [], "the body is nobody's")
                answer = wire.respond(Response(404, "no such page"))
                _check_answer(answer, 404, request.method == "HEAD")
            case [Requested(request)]:
                demand(len(_behind(stream)) <= limits.head, "what is early is limited")
                _check_accepted(wire, request, given)
            case _:
                demand(False, "a server reports a request, a fault, or both", events)
        check_end(wire, stream)


def _behind(stream: bytes) -> bytes:
    """What comes behind the first head of a stream."""
    return stream.partition(b"\r\n\r\n")[2]


def _check_accepted(wire: WebSocketServer, request: Request, given: Input) -> None:
    """Accept, as a client sees it; then what came behind the request is read."""
    offered = request.subprotocols[:1] if given.has(_SUBPROTOCOLS) else ()
    subprotocol = offered[0] if offered else None
    try:
        answer = wire.accept(subprotocol)
    except ValueError as error:
        # Any bytes may be offered, and h11 decides what may be sent back.
        demand(subprotocol is not None, "an answer of our own can be sent", error)
        demand_equal(wire.state, State.CONNECTING, "an answer that is not given changes nothing")
        answer = wire.accept()
        subprotocol = None
    peer = WebSocketClient("a", subprotocols=request.subprotocols if subprotocol else ())
    assert peer._handshake is not None
    key = request.headers["Sec-WebSocket-Key"].encode()
    peer._handshake.accept_token = generate_accept_token(key).decode()
    (opened,) = peer.receive(answer)
    demand(isinstance(opened, Opened), "a client takes the answer", answer, opened)
    demand_equal(peer.subprotocol, subprotocol, "both agree on the subprotocol")
    demand_equal(
        [outcome(event) for event in feed(wire, [b""])],
        ours(False, [_behind(given.stream)], given.limits),
        "the frames behind a request are read once it is accepted",
    )


def _check_answer(answer: bytes, status: int | None, head: bool) -> None:
    """See that an HTTP client understands an answer as whole and final."""
    peer = h11.Connection(h11.CLIENT)
    method = "HEAD" if head and answer.endswith(b"\r\n\r\n") else "GET"
    peer.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(answer)
    parsed = peer.next_event()
    demand(isinstance(parsed, h11.Response), "the answer is a final one", answer)
    assert isinstance(parsed, h11.Response)
    demand_equal(parsed.status_code, status, "the answer has the status of the fault")
    while isinstance(event := peer.next_event(), h11.Data):
        pass
    demand(isinstance(event, h11.EndOfMessage), "the answer is whole", answer, event)
    demand_equal(peer.trailing_data[0], b"", "nothing is behind the answer")


def client_handshake(data: bytes) -> None:
    """What a server answers from its first byte on, as a client meets it."""
    given = Input.parse(data)
    stream, limits = given.stream, given.limits
    seen: list[Outcome] | None = None
    for pieces in given.splits():
        wire = WebSocketClient(
            "a", limits=limits, subprotocols=SUBPROTOCOLS if given.has(_SUBPROTOCOLS) else ()
        )
        assert wire._handshake is not None
        wire._handshake.accept_token = TOKEN
        events = feed(wire, pieces)
        found = [outcome(event) for event in events]
        if seen is None:
            seen = found
        demand_equal(found, seen, "a split changes nothing")
        check_memory(wire, len(stream), 4 * limits.head + limits.message)
        match events:
            case []:
                demand_equal(wire.state, State.CONNECTING, "nothing came yet")
                demand(len(stream) <= limits.head, "a head is limited", len(stream))
            case [Failed(HandshakeError() as error, reply)]:
                demand_equal(reply, b"", "a client has no answer to an answer")
                demand(error.status is None or 100 <= error.status <= 999, "a status", error)
            case [Opened(response), *behind]:
                demand(response is not None and response.status == 101, "opened by 101", response)
                subprotocol = wire.subprotocol
                offered = (None, *(SUBPROTOCOLS if given.has(_SUBPROTOCOLS) else ()))
                demand(subprotocol in offered, "a subprotocol that was offered", subprotocol)
                demand_equal(
                    [outcome(event) for event in behind],
                    ours(True, [_behind(stream)], limits),
                    "the frames behind an answer are read",
                )
            case _:
                demand(False, "a client opens or fails", events)
        check_end(wire, stream)
