"""One connection of an identity in the whole cluster, where that is the policy: who may stay."""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from typing import TYPE_CHECKING

from attrs import define

from netserver.cluster.config import ClusterConfig
from netserver.cluster.deadlines import Deadlines
from netserver.cluster.delivery import Settled
from netserver.cluster.frames import BadFrame, Frame, Kind, Record, encode_record
from netserver.cluster.identities import Identities
from netserver.cluster.interest import Interest
from netserver.cluster.sender import Sender
from netserver.cluster.subjects import Subjects

if TYPE_CHECKING:
    from netserver.connection import Connection

logger = logging.getLogger(__name__)

# The close code of a connection that gave way to another of its identity; from the range that
# RFC 6455, section 7.4.2, leaves to applications, and clients do not reconnect after it.
REPLACED = 4000

# How long to wait until an identity can be reached from everywhere, seconds; then it goes on
# without: the link is slow, and will subscribe when it can.
REACHABLE = 2.0

# How long holders of an identity elsewhere may take to say so, seconds.
OBJECTION = 0.5

# Two that claim an identity within so many seconds have not heard of each other perhaps; then the
# later counts as the newest, by the servers' clocks. Else the claim that comes is the later one.
CLOSE_CALL = 5.0

_CLAIM = struct.Struct("!Q?")  # when, nanoseconds since the epoch of Unix; and whether once more


@define(eq=False)
class _Claim:
    """A connection that is, or wants to be, the one of its identity."""

    identity: str
    connection: Connection
    stamp: int
    granted: Settled[bool]


class Claims:
    """The identities of this server's connections. Owned by the cluster's thread.

    Args:
        config: The policy.
        server: This server's id.
        sender, subjects, interest: The way to the others.
        identities: Who is here.
    """

    def __init__(
        self,
        config: ClusterConfig,
        server: bytes,
        sender: Sender,
        subjects: Subjects,
        interest: Interest,
        identities: Identities,
    ) -> None:
        self._policy = config.identities
        self._server = server
        self._sender = sender
        self._subjects = subjects
        self._interest = interest
        self._identities = identities
        self._claims: dict[str, dict[Connection, _Claim]] = {}
        self._waiting: Deadlines[_Claim] = Deadlines(self._grant)
        self._tasks: set[asyncio.Task[None]] = set()

    def claim(self, identity: str, connection: Connection, granted: Settled[bool]) -> None:
        """A connection wants an identity; ``granted`` is settled when it is known to others.

        It is granted, too, when they cannot be asked, or do not answer.
        """
        self._interest.want(self._subjects.identity(identity))
        claim = _Claim(identity, connection, time.time_ns(), granted)
        self._claims.setdefault(identity, {})[connection] = claim
        task = asyncio.get_running_loop().create_task(self._establish(claim))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def withdraw(self, identity: str, connection: Connection) -> None:
        """A connection has the identity no more."""
        claims = self._claims.get(identity, {})
        if claims.pop(connection, None) is not None:
            self._interest.unwant(self._subjects.identity(identity))
            if not claims:
                del self._claims[identity]

    async def _establish(self, claim: _Claim) -> None:
        try:
            async with asyncio.timeout(REACHABLE):
                await self._interest.ready(self._subjects.identity(claim.identity))
        except TimeoutError:
            logger.debug("%r cannot be reached from other servers yet", claim.identity)
        if self._policy == "refuse":
            self._publish(claim, self._waiting.add(claim, OBJECTION))
            return
        if self._policy == "newest":
            self._publish(claim)
        claim.granted.settle(True)

    def claim_again(self) -> None:
        """The link is up again: what others claimed meanwhile was missed."""
        if self._policy == "all":
            return
        for claims in self._claims.values():
            for claim in claims.values():
                self._publish(claim, again=True)

    def unheard(self, number: int) -> bool:
        """Nobody else has anything to do with the identity; whether that was one of its numbers."""
        claim = self._waiting.take(number)
        if claim is not None:
            claim.granted.settle(True)
        return claim is not None

    def _grant(self, _number: int, claim: _Claim) -> None:
        """Nobody has objected in time."""
        claim.granted.settle(True)

    def _publish(self, claim: _Claim, number: int = 0, again: bool = False) -> None:
        record = encode_record(Kind.CLAIM, _CLAIM.pack(claim.stamp, again), number=number)
        self._sender.add(
            self._subjects.identity(claim.identity),
            claim.identity,
            record,
            unheard=self.unheard if number else None,
            number=number,
        )

    # ---------------------------------------------------------------- what others claim

    def take(self, frame: Frame, record: Record) -> None:
        """A connection of another server claims an identity that may be here."""
        try:
            stamp, again = _CLAIM.unpack(record.body)
        except struct.error:
            raise BadFrame(f"a claim of {len(record.body)} bytes") from None
        held = list(self._claims.get(frame.name, {}).values())
        if self._policy == "newest":
            for claim in held:
                self._give_way(claim, (stamp, frame.sender), again)
        elif self._policy == "refuse":
            if again:
                for claim in held:
                    if (stamp, frame.sender) < (claim.stamp, self._server):
                        claim.connection.close(REPLACED, "connected elsewhere, and earlier")
                return
            first = any(
                claim.granted.done or (claim.stamp, self._server) < (stamp, frame.sender)
                for claim in held
            )
            answer = encode_record(Kind.CLAIM_ANSWER, bytes([first]), number=record.number)
            self._sender.add(self._subjects.server(frame.sender), frame.sender.hex(), answer)

    def _give_way(self, claim: _Claim, theirs: tuple[int, bytes], again: bool) -> None:
        mine = (claim.stamp, self._server)
        recent = time.time_ns() - claim.stamp < CLOSE_CALL * 1e9
        if (recent or again) and mine > theirs:
            if not again:
                self._publish(claim, again=True)
        else:
            claim.connection.close(REPLACED, "connected elsewhere")

    def take_answer(self, frame: Frame, record: Record) -> None:
        """A server that may have a connection of the identity says whether it has."""
        if record.body == b"\x01" and (claim := self._waiting.take(record.number)):
            claim.granted.settle(False)
