"""Letting a peer in, or not: `Connection.on_connect`, and plain HTTP on a WebSocket port."""

from __future__ import annotations

from collections.abc import Awaitable
from inspect import isawaitable
from typing import TYPE_CHECKING

from netserver.cluster.frames import check_name
from netserver.errors import IdentityTaken, Reject
from netserver.events import Refused
from netserver.origins import is_allowed
from netserver.pauses import Pause
from netwire import Message, Request, Response, State

if TYPE_CHECKING:
    from netserver.shell import Shell

UPGRADE_REQUIRED = Response(
    426,
    "This is a WebSocket server.\n",
    headers=(("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
)


class Admission:
    """One connection before it is open; dropped after. Owned by the thread of its node.

    Attributes:
        pending: Whether the peer waits for an answer of ours.
        early: Messages of a peer that did not wait for it, where there is no handshake to make it
            wait; one read's at most.
    """

    __slots__ = ("_shell", "early", "pending")

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.pending = False
        self.early: list[Message] = []

    def ask(self, request: Request) -> None:
        """Ask `on_connect`; nothing more is read until it has answered."""
        shell = self._shell
        self.pending = True
        shell.connection.request = request
        shell.pause_reading(Pause.ADMISSION)
        shell.serial.call(self._ask, request)

    def answer(self, request: Request) -> None:
        """Answer a request that asks for no WebSocket as `Server.on_request` says, else 426."""
        self.pending = True
        server = self._shell.connection.server
        self._shell.serial.call(lambda: self._respond(server.on_request(request)))

    def _ask(self, request: Request) -> Awaitable[None] | None:
        connection = self._shell.connection
        origins = connection.listener.recipe.origins
        if origins is not None and not is_allowed(request, origins):
            self._refuse(Reject(403, "This page may not connect.\n"))
            return None
        try:
            result = connection.on_connect(request)
        except Reject as refusal:
            self._refuse(refusal)
            return None
        waits = result is not None and isawaitable(result)
        if waits or isinstance(connection.identity, str):
            return self._wait(result if waits else None, request)
        self._admit(request)
        return None

    async def _wait(self, answer: Awaitable[None] | None, request: Request) -> None:
        connection = self._shell.connection
        try:
            if answer is not None:
                await answer
            if isinstance(connection.identity, str):
                _check(connection.identity)
                await connection.identify(connection.identity)
        except Reject as refusal:
            self._refuse(refusal)
        except IdentityTaken as taken:
            self._refuse(Reject(409, f"{taken}\n"))
        else:
            self._admit(request)

    def _admit(self, request: Request) -> None:
        self.pending = False
        shell = self._shell
        accepts = shell.wire.state is State.CONNECTING
        if accepts:
            offered = request.subprotocols
            served = shell.connection.subprotocols
            agreed = next((name for name in served if name in offered), None)
            shell.outflow.write(shell.wire.accept(agreed))
        shell.open()
        if accepts and shell.was_open:
            shell.intake.take(shell.wire.receive_part(b""))  # what came behind the request

    def _refuse(self, refusal: Reject) -> None:
        connection = self._shell.connection
        connection.server.tell(connection, Refused(str(refusal)))
        self._respond(Response(refusal.status, refusal.reason, headers=refusal.headers))

    def _respond(self, response: Response | None) -> None:
        if not isinstance(response, Response | None):
            raise TypeError(f"on_request returns a Response or None, not {response!r}")
        self._shell.respond(UPGRADE_REQUIRED if response is None else response)
        self.pending = False  # only now: an answer that cannot be sent is a failure to answer


def _check(identity: str) -> None:
    """Refuse an identity that cannot be one: mostly the peer has made it up, as a path perhaps."""
    try:
        check_name(identity)
    except ValueError as wrong:
        raise Reject(400, f"This identity cannot be used: {wrong}.\n") from wrong
