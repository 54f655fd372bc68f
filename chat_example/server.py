"""The chat's connections, and the page that brings a browser to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files

from chat_example.chat import Chat, Person
from chat_example.commands import COMMANDS, run_line
from chat_example.protocol import FROM_CLIENT, MESSAGE_LIMIT, Error, Hello, decode, encode
from chat_example.rooms import begin_history
from chat_example.rules import BURST, RATE, ChatError, Pace
from foreman import Worker
from netserver import (
    ClusterConfig,
    Connection,
    Limits,
    Member,
    Recovery,
    Reject,
    Request,
    Response,
    Server,
    ServerConfig,
)
from netserver.events import Event

# Messages refused for coming too fast, in a row, after which it is no accident.
PATIENCE = 100

PAGES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}

# The page needs nothing from elsewhere, so the browser need not allow it, whatever people write.
HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
)


class ChatConnection(Connection):
    """One client, on whichever transport. Its fields belong to its node's thread."""

    # People take an answer within 0.1 s for immediate (R. B. Miller, "Response time in
    # man-computer conversational transactions", 1968); asking for less would only cost nodes.
    required_latency = 0.1

    server: ChatServer

    def __init__(self) -> None:
        super().__init__()
        self._person: Person | None = None
        self._pace = Pace(RATE, BURST, time.monotonic())

    def on_connect(self, request: Request) -> None:
        # A browser tells whose page opens the connection. Another site's may not, or it could
        # listen in on a chat that only its visitor can reach.
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
            raise Reject(403, "open the chat's own page\n")

    async def on_message(self, message: bytes | str) -> None:
        try:
            if self._is_in_time():
                await self._take(message)
        except ChatError as error:
            self.send(encode(Error(code=error.code, text=error.text)))

    def on_recovery(self, recovery: Recovery) -> None:
        self.send(encode(begin_history(recovery)))
        super().on_recovery(recovery)

    async def on_ask(self, ticket: bytes | str) -> str:
        # Somebody wants the nickname of this one, wherever they are.
        if self._person is None:
            raise ChatError("gone", "that one has left")
        await self.server.chat.give_way(self._person, ticket)
        self._person = None
        return "yours"

    def on_close(self, code: int, reason: str) -> None:
        self.server.chat.forget(self)

    def _is_in_time(self) -> bool:
        tokens = self._pace.spend(time.monotonic())
        if tokens < -PATIENCE:
            self.close(1008, "too many messages")
        elif -1 <= tokens < 0:
            # Said once and not to every message: a flood is not to be answered with a flood.
            raise ChatError("too-fast", f"at most {RATE:g} messages a second; that one is lost")
        return tokens >= 0

    async def _take(self, data: bytes | str) -> None:
        message = decode(data, FROM_CLIENT)
        chat = self.server.chat
        if isinstance(message, Hello):
            if self._person is not None:
                raise ChatError("said-hello", "you have said hello; /nick changes the nickname")
            self._person = await chat.enter(self, message, list(COMMANDS))
            return
        if self._person is None:
            raise ChatError("say-hello", "say hello first, with a nickname")
        answer = await run_line(chat, self._person, message.text)
        if answer is not None:
            self.send(encode(answer))
        if self.identity is None:  # they have left
            self._person = None


# Servers of the chat have nothing to do with others on the same broker; a nickname belongs to one
# person.
TOGETHER = ClusterConfig(prefix="chat", identities="refuse")


class ChatServer(Server):
    """A server whose listeners all lead into one chat, and into that of other servers.

    Args:
        config: Limits and deadlines; None for the defaults, with messages as long as a chat needs.
        cluster: The URL of the backplane that connects it with the others, the same for all; None
            for this server alone.
        cluster_config: How they work together; its policy for identities is to be ``refuse``.
        on_event: As for `Server`.
    """

    def __init__(
        self,
        config: ServerConfig | None = None,
        *,
        cluster: str | None = None,
        cluster_config: ClusterConfig = TOGETHER,
        on_event: Callable[[Worker, Event], None] | None = None,
    ) -> None:
        super().__init__(
            config=config or ServerConfig(limits=Limits(message=MESSAGE_LIMIT)),
            cluster=cluster,
            cluster_config=cluster_config,
            on_event=on_event,
        )
        self.chat = Chat(self)
        here = files(__package__)
        self._pages = {
            path: Response(200, here.joinpath(name).read_bytes(), content_type, HEADERS)
            for path, (name, content_type) in PAGES.items()
        }

    def on_presence(self, group: str, came: tuple[Member, ...], went: tuple[Member, ...]) -> None:
        self.chat.follow(came, went)

    def on_request(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(405, "only GET and HEAD\n", headers=(("Allow", "GET, HEAD"),))
        return self._pages.get(request.path) or Response(404, "there is nothing here\n")
