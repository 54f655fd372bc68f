"""A server's part in the cluster, as the rest of the server sees it: to be called by any thread."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Collection
from threading import Lock
from typing import TYPE_CHECKING, Any

from attrs import frozen

from foreman import NotRunning, Worker
from foreman.loops import new_loop
from netserver.backplane import Backplane, BackplaneError, LinkState, make_backplane
from netserver.backplane.memory import MemoryBackplane
from netserver.cluster.answer import Answer
from netserver.cluster.claims import REPLACED
from netserver.cluster.config import ClusterConfig
from netserver.cluster.core import Core
from netserver.cluster.delivery import Delivery, Outcome, Settled
from netserver.cluster.frames import (
    LONGEST_NAME,
    OVERHEAD,
    SERVER_ID,
    Kind,
    check_key,
    check_name,
    encode_message,
)
from netserver.cluster.identities import Identities
from netserver.cluster.lane import Lane
from netserver.cluster.presence import Change, Member
from netserver.cluster.router import NOBODY
from netserver.cluster.rules import inbox_of
from netserver.cluster.sender import Budget
from netserver.errors import IdentityTaken, Unanswered
from netserver.events import Event
from netserver.interjection import put_question
from netserver.outflow import check_message
from netwire import Message, State

if TYPE_CHECKING:
    from netserver.connection import Connection
    from netserver.server import Server

logger = logging.getLogger(__name__)

# Stands for all connections where a name is needed.
EVERYBODY = "*"

# How long the thread may take to end, seconds. It gives up by itself before that, unless something
# of the engine's blocks it.
PATIENCE = 5.0


@frozen(kw_only=True)
class ClusterStatistics:
    """What a server has to do with the others.

    Attributes:
        id: This server's id.
        link_up: Whether the link to the broker, or to the peers, is up.
        identities: How many are connected here.
        subscriptions: How many subjects this server hears.
        peers: Servers that share a group with this one, where that has presence, and are there.
        channels: Groups whose history this server has at hand.
        waiting: What waits for the backplane, bytes.
        frames_sent, frames_received: Frames, each with any number of messages.
        invalid: Frames that were none, or had in them what did not belong there.
        dropped: Messages that the backplane did not get: it was down, or there was no room.
    """

    id: str
    link_up: bool
    identities: int
    subscriptions: int
    peers: int
    channels: int
    waiting: int
    frames_sent: int
    frames_received: int
    invalid: int
    dropped: int


class Cluster(Worker):
    """The other servers, seen from one. Thread-safe.

    It has a thread of its own, which begins when it is first needed: at the server's start where a
    backplane is given. No node ever waits for it. It stands for itself in `Server.on_event`; no
    Foreman places it.

    Args:
        server: Whose.
        url: The backplane's; None for this server alone.
        config: How they work together.
    """

    def __init__(self, server: Server, url: str | None, config: ClusterConfig | None) -> None:
        super().__init__()
        if not isinstance(config, ClusterConfig | None):
            raise TypeError(f"cluster_config is a ClusterConfig, not {config!r}")
        self._server = server
        self.config = ClusterConfig() if config is None else config
        self.joined = url is not None
        self._backplane: Backplane = MemoryBackplane() if url is None else make_backplane(url)
        self.id = secrets.token_bytes(SERVER_ID)
        self.identities = Identities()
        self._lane = Lane("cluster", new_loop, self._begin, self._end)
        self._rules = server.groups.rules
        self._budget = Budget(self.config.publish_limit, self._lane.lock)
        self._core = Core(
            server,
            self.id,
            self._backplane,
            self.config,
            self._lane,
            self.identities,
            self._budget,
            not self.joined,
            self._tell,
            self._tell_presence,
        )
        self._send_directly = self._core.router.send  # the very same object at every call
        self._begun: Settled[Exception | bool] = Settled()
        self._ids = 0
        self._ids_lock = Lock()

    # ---------------------------------------------------------------- from start to end

    def start(self) -> None:
        """Join the others, where there is a backplane; wait for the first attempt to connect.

        From now on the groups' rules stay as they are.

        Raises:
            BackplaneError: It can never work.
            NotRunning: The server was closed.
        """
        self._server.groups.seal()
        if not self.joined:
            return
        if not self._lane.start():
            raise NotRunning("the server was closed; make a new one")
        outcome = self._begun.wait()
        if isinstance(outcome, Exception):
            raise outcome

    @property
    def here(self) -> bool:
        """Whether this is its thread."""
        return self._lane.here

    def stop(self) -> None:
        """Leave the others. Not on its own thread."""
        if not self._lane.stop(PATIENCE):
            logger.warning("the cluster's thread does not end; it is left behind")

    async def _begin(self) -> bool:
        try:
            await self._core.start()
        except BackplaneError as error:
            self._begun.settle(error)  # `start` raises it: no traceback is needed in the log
            return False
        except Exception as error:
            self._begun.settle(error)
            raise
        self._begun.settle(True)
        return True

    async def _end(self) -> None:
        await self._core.stop()

    def _tell(self, event: Event) -> None:
        self._server.tell(self, event)

    def _tell_presence(self, group: str, change: Change) -> None:
        try:
            self._server.on_presence(group, change.came, change.went)
        except Exception:
            logger.exception("on_presence raised for %r", group)

    # ---------------------------------------------------------------- sending

    def send_to(self, identity: str, message: Message, timeout: float) -> Delivery:
        """As `Server.send_to`."""
        # The functions are called where it is not plain without them: every message passes by.
        if type(message) is not bytes:
            check_message(message)
        plain = type(identity) is str and identity.isascii()
        if not plain or not 0 < len(identity) <= LONGEST_NAME:
            check_name(identity)
        if type(timeout) is not float or not 0 <= timeout < math.inf:
            timeout = _check_timeout(timeout)
        rules = self._rules
        if rules and rules.of(inbox_of(identity)).history is not None:
            return self._send_to_inbox(identity, message, timeout)
        size = len(message)
        if self.joined and (
            type(message) is not bytes or size > self._backplane.max_payload - OVERHEAD
        ):
            size = self._check_size(message)  # before anybody gets it, wherever they are
        found = False
        for connection in self.identities.of(identity):
            found |= connection.send(message)
        if not self.joined or (found and self.config.identities != "all"):
            return Delivery(Outcome.DELIVERED if found else Outcome.NOBODY)
        delivery = Delivery(Outcome.DELIVERED if found else None)
        item = identity, message, delivery, timeout, size
        if not self._lane.gather(self._send_directly, item, self._budget, size):
            delivery.settle(Outcome.REFUSED)
        return delivery

    def _send_to_inbox(self, identity: str, message: Message, timeout: float) -> Delivery:
        delivery = Delivery()
        stored = self.publish(inbox_of(identity), message, None)
        if not self._lane.post(self._core.router.follow, identity, stored, delivery, timeout):
            delivery.settle(Outcome.REFUSED)
        return delivery

    def ask(self, identity: str, message: Message, timeout: float) -> Answer:
        """As `Server.ask`."""
        check_name(identity)
        timeout = _check_timeout(timeout)
        answer = Answer()
        connections = self.identities.of(identity)
        if connections:
            put_question(connections[-1], message, answer)
            self._lane.post(self._core.router.await_here, identity, answer, timeout)
        elif not self.joined:
            answer.settle(Unanswered(identity, NOBODY))
        elif not self._send(message, self._core.router.ask, identity, message, answer, timeout):
            ended = self._lane.closed
            why = "this server has ended" if ended else "too much waits for the backplane"
            answer.settle(Unanswered(identity, why))
        return answer

    def broadcast(self, message: Message, group: str | None, key: object) -> None:
        """Send a message to the members of a group, or to everybody, on the other servers."""
        if not self.joined:
            return
        told = key if isinstance(key, str) else ""
        check_key(told)
        if group is not None:
            check_name(group)
        self._send(message, self._broadcast, message, group, told)

    def _broadcast(self, message: Message, group: str | None, key: str, size: int) -> None:
        core = self._core
        if group is None:
            record = encode_message(Kind.EVERYBODY, message, key=key)
            core.sender.add(core.subjects.everybody, EVERYBODY, record, charged=size)
        else:
            record = encode_message(Kind.GROUP, message, key=key)
            core.sender.add(core.subjects.group(group), group, record, charged=size)

    def publish(self, group: str, message: Message, id: str | None) -> Delivery:
        """As `Server.publish`, for a group with a history."""
        delivery = Delivery()
        check_name(group)
        if id is not None:
            if id == "":
                raise ValueError("an id is not empty; None for a message that is new in any case")
            check_key(id)
        else:
            with self._ids_lock:
                self._ids += 1
                id = f"{self.id.hex()}.{self._ids}"
        if not self._send(message, self._core.channels.say, group, message, id, delivery):
            delivery.settle(Outcome.REFUSED)
        return delivery

    def _send(self, message: Message, function: Callable[..., object], *args: Any) -> bool:
        """Take what a message needs of the budget, and call a function with it on the thread.

        Its last argument is what was taken, bytes.

        Returns:
            False where there is no room, or the thread has ended.

        Raises:
            ValueError: The message is longer than the backplane carries, or a text with surrogates.
        """
        size = self._check_size(message)
        if not self._budget.take(size):
            return False
        posted = False
        try:
            posted = self._lane.post(function, *args, size)
        finally:
            if not posted:
                self._budget.give_back(size)
        return posted

    def _check_size(self, message: Message) -> int:
        """The bytes of a message for other servers; raises as `_send`."""
        size = len(message) if isinstance(message, bytes) else len(message.encode())
        most = self._core.sender.longest
        if size > most:
            raise ValueError(f"{size} bytes are more than the {most} that go to other servers")
        return size

    # ---------------------------------------------------------------- who is where

    async def enroll(self, connection: Connection, identity: str) -> None:
        """A connection has an identity from now on; on its own node.

        The one that it had before it keeps until then.

        Raises:
            IdentityTaken: Another has it, and the policy is to refuse.
            ValueError: It cannot be one.
        """
        check_name(identity)
        before = connection._enrolled
        if identity in before:
            return
        earlier = self.identities.add(identity, connection, self.config.identities == "refuse")
        if earlier is None:
            raise IdentityTaken(identity)
        connection._enrolled = (*before, identity)
        if self.config.identities == "newest":
            for other in earlier:  # and none that came meanwhile, which closes this one
                other.close(REPLACED, "connected elsewhere")
        if self.joined:
            granted: Settled[bool] = Settled()
            claim = self._core.claims.claim
            try:
                if self._lane.post(claim, identity, connection, granted) and not await granted:
                    raise IdentityTaken(identity)
            except BaseException:  # whoever waited for it may have been cancelled
                self._withdraw(connection, (identity,))
                raise
        # Whoever is lost meanwhile has been dismissed; whoever was lost before has not.
        gone = connection.state is State.CLOSED
        self._withdraw(connection, connection._enrolled if gone else before)

    def dismiss(self, connection: Connection) -> None:
        """A connection has no identity from now on. Does nothing twice."""
        if connection._enrolled:
            self._withdraw(connection, connection._enrolled)

    def _withdraw(self, connection: Connection, identities: Collection[str]) -> None:
        for identity in identities:
            if self.identities.remove(identity, connection) and self.joined:
                self._lane.post(self._core.claims.withdraw, identity, connection)
        connection._enrolled = tuple(
            each for each in connection._enrolled if each not in identities
        )

    def look(self, connection: Connection, group: str) -> None:
        """A connection has joined or left a group, or has another identity in it."""
        if self.joined or self._server.groups.rules.matter(group):
            memberships = self._core.memberships
            if memberships.expect(connection, group):
                self._lane.post(memberships.look, connection, group)

    def members(self, group: str) -> list[Member]:
        """As `Server.presence`."""
        return self._core.presence.members(group)

    def counts(self) -> ClusterStatistics:
        """How things stand."""
        core = self._core
        return ClusterStatistics(
            id=self.id.hex(),
            link_up=self.joined and self._backplane.state is LinkState.UP,
            identities=len(self.identities),
            subscriptions=len(core.interest),
            peers=len(core.presence.peers),
            channels=len(core.channels),
            waiting=self._budget.used,
            frames_sent=core.sender.frames,
            frames_received=core.incoming.frames,
            invalid=core.incoming.invalid,
            dropped=core.dropped,
        )


def _check_timeout(timeout: float) -> float:
    """A timeout, seconds; what no timer takes is refused where it is told to who gave it."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"a timeout is a number of seconds, not {timeout!r}")
    try:
        seconds = float(timeout)
    except OverflowError:  # an int of more digits than any float has
        raise ValueError("a timeout of more seconds than a float holds") from None
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a timeout is finite and not negative, not {timeout!r}")
    return seconds
