"""What users subclass: one peer, whatever the transport."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from foreman import Node, NotRunning, Worker
from netserver import handover
from netserver.backlog import OVERHEAD
from netserver.cluster.history import Position, Recovery, check_position
from netserver.cluster.presence import as_told
from netserver.cluster.rules import inbox_of
from netserver.events import Gap, Moved
from netserver.groups import Membership
from netserver.losses import Losses, creation
from netserver.outflow import check_message, encode_ahead
from netserver.statistics import ConnectionStatistics
from netwire import Message, Request, State
from netwire.websocket.close import close_payload
from netwire.websocket.frames import MAX_CONTROL

if TYPE_CHECKING:
    from foreman import Foreman
    from netserver.server import Server
    from netserver.shell import Shell
    from netserver.source import Source

Address: TypeAlias = tuple[str, int] | str | None

_ids = itertools.count(1)

_NO_REQUEST = Request()

_OPEN = State.OPEN  # an enum's members are slow to look up


class _NoneYet:
    """Stands for what a server gives to the connections that it makes.

    A `Connection.__getattr__` would say the same, and make every other attribute slow to read: it
    took a tenth of a short message's way through the server.
    """

    __slots__ = ("_kind",)

    def __init__(self, kind: type[Connection]) -> None:
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this {self._kind.__name__} was not made by a server: no peer")


class Connection(Worker):
    """One peer. Subclass it, declare `required_latency`, and override the callbacks you need.

    Every callback runs on the connection's node, sync or ``async def``. They never run
    concurrently with each other, and async ones run one at a time in the order of the messages.
    One that raises closes this connection only (1011, or 1013 for `foreman.Infeasible`; a plain
    close where there are no codes), after `on_error`.

    A subclass that defines ``__init__`` calls ``super().__init__()`` and takes no arguments.

    Attributes:
        id: A number of its own within this process.
        identity: Whatever `on_connect` makes of who it is; None until then. A str is where
            `Server.send_to` and `Server.ask` reach it, on whatever server; see `identify`.
        server: The server it belongs to.
        listener: The `Listener` that accepted it, or the `Connector` that made it.
        request: What it asked for in its handshake; ``GET /`` where there is none.
        subprotocols: The WebSocket subprotocols served, best first; the first that the client
            offers is chosen.
        pulls: Whether the class overrides `handle`.
        subprotocol: The one agreed on; None without.
        local_address, remote_address: ``(host, port)``, a Unix socket's path, or None.
        close_code, close_reason: How it ended; None and "" before.
    """

    __slots__ = (
        "_enrolled",
        "_interjected",
        "_losses",
        "_overrun",
        "_questions",
        "_shell",
        "close_code",
        "close_reason",
        "id",
        "identity",
        "listener",
        "local_address",
        "remote_address",
        "request",
        "server",
        "subprotocol",
    )

    subprotocols: ClassVar[tuple[str, ...]] = ()
    pulls: ClassVar[bool] = False

    server: Server
    listener: Source
    request: Request
    _shell: Shell

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.pulls = cls.handle is not Connection.handle

    def __init__(self) -> None:
        super().__init__()
        nothing: Any = _NoneYet(type(self))
        self._shell = self.server = self.listener = nothing
        self.id = next(_ids)
        self.identity: Any = None
        self.request = _NO_REQUEST
        self.subprotocol: str | None = None
        self.local_address: Address = None
        self.remote_address: Address = None
        self.close_code: int | None = None
        self.close_reason = ""
        self._enrolled: tuple[str, ...] = ()  # what it is reached by; two while it changes
        self._interjected: asyncio.Event | None = None  # set when the last such has ended
        self._overrun = False  # set by any thread, once: other threads sent too much
        self._questions = 0  # what waits for `on_ask`, bytes
        self._losses: Losses | None = None  # made by whichever thread loses something first

    def __repr__(self) -> str:
        state = self.state.value
        return f"<{type(self).__name__} {self.id} {state}, peer {self.remote_address}>"

    # ---------------------------------------------------------------- callbacks

    def on_connect(self, request: Request) -> Awaitable[None] | None:
        """A peer asks to be let in. Raise `Reject` to refuse; may set `identity`.

        It may `send` only from `on_open` on.
        """

    def on_open(self) -> Awaitable[None] | None:
        """It is open: messages may flow both ways."""

    def on_message(self, message: Any) -> Awaitable[None] | None:
        """A whole message: ``str`` for text, ``bytes`` for binary."""

    def on_close(self, code: int, reason: str) -> Awaitable[None] | None:
        """It ended; called exactly once for every connection that was opened, after all else."""

    def on_error(self, error: BaseException) -> Awaitable[None] | None:
        """A callback raised, or the peer broke a rule (`netwire.RemoteError`); it closes next."""

    def on_gap(self, gap: Gap) -> Awaitable[None] | None:
        """Messages were not sent to a slow reader, as `SlowReader` says.

        Called when it has read on, once for all that gave way since the last time; so what is sent
        here, the present state of things perhaps, comes behind what still waited.
        """

    def on_ask(self, message: Any) -> Message | Awaitable[Message]:
        """`Server.ask` wants an answer of this peer; return it.

        What is raised is told to whoever asked.
        """
        raise NotImplementedError("this connection answers no questions")

    def on_recovery(self, recovery: Recovery) -> Awaitable[None] | None:
        """It joined a group with a history: what it missed, or what is kept.

        What is said in the group from now on comes when this has ended. By default the messages
        are sent as they are; override it to tell the peer its position, and whether it was
        recovered. It is called again should the history itself be lost, or should it take so long
        that too much was said meanwhile.
        """
        for message in recovery.messages:
            self.send(message)
        return None

    def on_moved(self, old: Node, new: Node) -> Awaitable[None] | None:
        """It runs on another node now; nothing was lost."""

    async def handle(self) -> None:
        """Override it instead of `on_message` to pull messages: ``async for message in self:``.

        It begins when the connection opens, and the connection closes when it returns. `on_ask` and
        `on_recovery` run while it waits, and `on_close` after it. Such a
        connection stays on its node while it runs; the Foreman moves others around it.
        """
        raise NotImplementedError

    # ---------------------------------------------------------------- any thread

    def send(self, message: Message, key: Hashable = None) -> bool:
        """Send one message: ``str`` as text, ``bytes`` as binary.

        At most once, in order per sending thread, not waited for. On the connection's own node it
        goes straight out; from another thread it is handed over. When the peer reads slowly, it
        waits, or something gives way, as the listener's `SlowReader` says.

        Args:
            key: Where only the ``latest`` message of each key is kept for a slow reader, its key.

        Returns:
            False when the connection is not open, or the message was not taken because too much
            waits. One that was taken may still give way to others, and one that was handed over
            may find no room. What gave way is counted, and told to `on_gap`.

        Raises:
            TypeError: The message is neither ``str`` nor ``bytes``.
            ValueError: The framing cannot carry it.
        """
        home = self._home
        # Node.here, written out: this line is passed for every message.
        if home is not None and home.thread_id == get_ident():
            return self._shell.outflow.send(message, key)
        return self._hand_over(message, key)

    async def drain(self) -> None:
        """Wait until the peer has taken enough that nothing waits any more. On its own node only.

        A slow reader has ``write_timeout`` for it; it returns when the connection has ended, too.

        Raises:
            NotRunning: It was called on another thread than its node's.
        """
        home = self._home
        if home is None or not home.here:
            raise NotRunning("drain() is for the connection's own callbacks")
        await self._shell.outflow.drained()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close in good order, after what was sent. Does nothing twice. Any thread.

        Raises:
            ValueError: The code may not be sent (RFC 6455, section 7.4), or the reason is over
                123 bytes in UTF-8.
        """
        close_payload(code, reason)  # so that what may not be sent is told to the caller
        self._run_here(self._shell.ending.close, code, reason)

    def abort(self) -> None:
        """Cut the connection at once; what is not written yet is lost. Any thread."""
        self._run_here(self._shell.ending.cut, 1006, "aborted")

    def ping(self, payload: bytes = b"") -> None:
        """Ask the peer to answer (WebSocket only; elsewhere nothing happens). Any thread.

        The answer keeps the connection from being taken for dead, and is told to nobody.

        Args:
            payload: At most 125 bytes.

        Raises:
            ValueError: It is longer (RFC 6455, section 5.5).
        """
        if len(payload) > MAX_CONTROL:
            raise ValueError(f"a ping has at most {MAX_CONTROL} bytes, not {len(payload)}")
        self._run_here(self._shell.outflow.ping, payload)

    def join(self, group: str, data: Any = None, since: Position | None = None) -> bool:
        """Be in a group until `leave` or the end. Any thread.

        A connection that is closed joins nothing.

        Args:
            data: What others are told of it where the group has presence (`GroupRules`): anything
                that JSON has, at most 4 KiB of it. A copy is kept: join again to change it.
            since: Where the peer had read to, where the group has a history: `on_recovery` is
                called with what it missed, or, without, with what is kept.

        Returns:
            False when it was in the group already; then ``data`` counts, and with a history it
            is served anew.

        Raises:
            ValueError: The name is empty, the data cannot be told, or there is ``since`` for a
                group without history.
            TypeError: ``since`` is no `Position`, or has something else in it than a text and a
                whole number.
        """
        server = self.server
        if data is None and since is None:
            membership = Membership()
        else:
            if since is not None:
                check_position(since)
                if server.groups.rules.of(group).history is None:
                    raise ValueError(f"group {group!r} has no history to come back to with since=")
            membership = Membership(as_told(data), since)
        joined = server.groups.join(self, group, membership)
        if self.state is State.CLOSED:
            self._leave_all()
            return False
        server.cluster.look(self, group)
        return joined

    def leave(self, group: str) -> bool:
        """Leave a group; False when it was not in it. Any thread."""
        left = self.server.groups.leave(self, group)
        if left:
            self.server.cluster.look(self, group)
        return left

    async def identify(self, identity: str | None) -> None:
        """Be reached under an identity from now on, and not under one before. On its own node only.

        In `on_connect` it is enough to set ``identity`` to a str: this is done before the
        connection opens, and a peer whose identity is taken is answered 409, or 400 where it cannot
        be one.

        Args:
            identity: At most 1024 bytes in UTF-8; None to be reached under none.

        Raises:
            IdentityTaken: Another connection has it, and `ClusterConfig.identities` is ``refuse``;
                this one keeps what it had before.
            ValueError: It is empty or too long.
        """
        cluster = self.server.cluster
        if identity is None:
            cluster.dismiss(self)
        else:
            await cluster.enroll(self, identity)
        self.identity = identity
        for group in self.groups:
            cluster.look(self, group)

    @property
    def inbox(self) -> str | None:
        """The group through which its identity is sent to, ``@`` and the identity.

        Where the rules keep a history of it, `Server.send_to` stores there what it sends, even
        while nobody is there; join it, with ``since=``, to be sent it. None without an identity.
        """
        return inbox_of(self._enrolled[-1]) if self._enrolled else None

    @property
    def groups(self) -> Iterable[str]:
        """The groups it is in."""
        return self.server.groups.of(self)

    @property
    def round_trip(self) -> float | None:
        """How long the peer took to answer our latest ping, seconds; None before the first.

        Measured every `ServerConfig.ping_interval`, on WebSocket. Any thread.
        """
        pulse = self._shell.pulse
        return None if pulse is None else pulse.round_trip

    @property
    def state(self) -> State:
        """Where it stands. Slightly old when read from another thread."""
        shell: Shell | _NoneYet = self._shell
        return State.CONNECTING if isinstance(shell, _NoneYet) else shell.state

    def statistics(self) -> ConnectionStatistics:
        """What it cost, how it was served, and how its peer fares. Any thread."""
        shell: Shell | _NoneYet = self._shell
        pulse = None if isinstance(shell, _NoneYet) else shell.pulse
        losses = self._losses
        return ConnectionStatistics(
            holds=self.holds.statistics(),
            waits=self._waits(),
            errors=self._errors,
            round_trip=None if pulse is None else pulse.round_trip,
            smoothed_round_trip=None if pulse is None else pulse.smoothed,
            waiting=0 if isinstance(shell, _NoneYet) else shell.outflow.size,
            dropped=0 if losses is None else losses.messages,
            superseded=0 if losses is None else losses.superseded,
        )

    def __aiter__(self) -> AsyncIterator[Message]:
        return self._shell.inbox.messages()

    # ---------------------------------------------------------------- between threads

    def _run_here(self, function: Callable[..., object], *args: Any) -> None:
        """Run on its own thread: now, when this is it, or in turn."""
        home = self._home
        if home is not None and home.here:
            function(*args)
        elif self._foreman is not None:  # otherwise it is gone
            self._post(function, args)

    def _hand_over(
        self, message: Message, key: Hashable, encoded: dict[Hashable, bytes] | None = None
    ) -> bool:
        """Have its own thread send a message; False when that cannot be."""
        check_message(message)
        shell = self._shell
        if shell.state is not _OPEN:
            return False
        outflow = shell.outflow
        send: Callable[..., bool] = outflow.send_shared
        args: tuple[Any, ...] = (message, encoded, key)
        if encoded is None:
            ahead: dict[Hashable, bytes] = {}
            if not encode_ahead(shell.wire, message, ahead):
                return False
            # Only one of the two waits: the message, or what it is on the wire.
            data = ahead.get(shell.wire.encoding_key)
            send, args = (
                (outflow.send, (message, key))
                if data is None
                else (outflow.send_encoded, (data, key))
            )
        rules = shell.slow_reader
        limit = rules.limit
        cost = len(message) + OVERHEAD
        if self._post(send, args, cost, limit):
            return True
        # Its node has not come round meanwhile, however the peer reads. So which of them gives way
        # is of no consequence, and with every policy it is the newest.
        if rules.policy != "close":
            self._lose(len(message), False)
        elif not self._overrun:
            self._overrun = True
            reason = f"over {limit} bytes wait to be sent"
            self._post(shell.ending.evict, (rules.close_code, reason))
        return False

    # ---------------------------------------------------------------- for the cluster

    def _leave_all(self) -> None:
        """It is reached as a member, or under its identity, no longer. Any thread."""
        cluster = self.server.cluster
        for group in self.server.groups.leave_all(self):
            cluster.look(self, group)

    # ---------------------------------------------------------------- what gave way

    def _lose(self, size: int, superseded: bool) -> None:
        """A message gave way. Any thread."""
        losses = self._losses
        if losses is None:
            with creation:
                losses = self._losses = self._losses or Losses()
        self.server.census.lose()
        if losses.add(size, superseded):
            self._post(self._tell_gap, (False,))

    def _gap_ends(self) -> None:
        """The peer has read on: what gave way until now is told behind what is handed over."""
        if self._losses is not None:
            self._post(self._tell_gap, (True,))

    def _tell_gap(self, reads_on: bool) -> None:
        """Tell what gave way, unless the peer is still to read on."""
        shell = self._shell
        if shell.ending.over or (shell.outflow.paused and not reads_on):
            return
        if gap := self._take_gap():
            shell.serial.call(self.on_gap, gap)

    def _take_gap(self) -> Gap | None:
        """What gave way and was not told yet, told to the server."""
        gap = None if self._losses is None else self._losses.untold()
        if gap is not None:
            self.server.tell(self, gap)
        return gap

    def _deliver(self) -> None:
        # What several calls send leaves in one write, behind what was gathered before.
        outflow = self._shell.outflow
        outflow.cork()
        try:
            Worker._deliver(self)
        finally:
            outflow.uncork()

    # ---------------------------------------------------------------- as a worker

    def _join(self, foreman: Foreman) -> float | None:
        shell: Shell | _NoneYet = self._shell
        if isinstance(shell, _NoneYet):
            raise TypeError(
                f"{type(self).__name__} is a Connection: the server makes them, for the class given"
                " to Server.listen or Server.connect"
            )
        return super()._join(foreman)

    @property
    def movable(self) -> bool:
        return self._shell.movable

    async def detach(self) -> None:
        await handover.detach(self._shell)

    async def attach(self, node: Node) -> None:
        await handover.attach(self._shell, node)

    def _arrived(self, node: Node) -> None:
        handover.arrived(self._shell)

    def _left(self) -> None:
        self._shell.left()

    def _moved(self, old: Node, new: Node) -> None:
        self.server.tell(self, Moved(old, new))
        self._shell.serial.call_first(self.on_moved, old, new)

    def _fail(self, error: BaseException) -> None:
        self._shell.ending.fail(error)
