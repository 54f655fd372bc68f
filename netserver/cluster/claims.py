"""One connection of an identity in the whole cluster, where that is the policy: who may stay."""

from __future__ import annotations

import asyncio
import logging
import struct
from functools import partial
from itertools import islice
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

# So many identities are claimed once more in each turn of so many seconds, so that many of them are
# a trickle beside what clients send.
BATCH = 100
TURN = 0.1

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
        self._resync = config.resync
        self._dead_after = config.dead_after
        self._server = server
        self._sender = sender
        self._subjects = subjects
        self._interest = interest
        self._identities = identities
        self._claims: dict[str, dict[Connection, _Claim]] = {}
        self._waiting: Deadlines[_Claim] = Deadlines(self._grant)
        self._reaching: Deadlines[_Claim] = Deadlines(self._establish)
        self._again = asyncio.Event()

    async def run(self) -> None:
        """Claim everything again every ``resync``, and when it is due earlier; until cancelled.

        A claim can be lost without a trace where only others were cut off from each other. Where a
        link was held up, their first words come before their subscriptions: what is claimed upon
        those may not be heard either, and is claimed once more after ``dead_after``.
        """
        if self._policy == "all":
            return
        pause = self._resync
        while True:
            early = await self._is_due_within(pause)
            pause = min(self._dead_after, self._resync) if early else self._resync
            identities = iter(list(self._claims))
            while batch := list(islice(identities, BATCH)):
                if self._sender.link_up:
                    for identity in batch:
                        self._repeat(identity)
                await asyncio.sleep(TURN)

    async def _is_due_within(self, pause: float) -> bool:
        """Wait so long, and shorter if it is due earlier; whether it was."""
        try:
            async with asyncio.timeout(pause):
                await self._again.wait()
        except TimeoutError:
            return False
        self._again.clear()
        return True

    def _repeat(self, identity: str) -> None:
        for claim in self._claims.get(identity, {}).values():
            if claim.granted.done:
                self._publish(claim, again=True)

    def claim(self, identity: str, connection: Connection, granted: Settled[bool]) -> None:
        """A connection wants an identity; ``granted`` is settled when it is known to others.

        It is granted, too, when they cannot be asked, or do not answer.
        """
        stamp = self._identities.since(identity, connection)
        if stamp is None:
            granted.settle(False)  # it has gone before it came to this
            return
        self._interest.want(self._subjects.identity(identity))
        claim = _Claim(identity, connection, stamp, granted)
        self._claims.setdefault(identity, {})[connection] = claim
        number = self._reaching.add(claim, REACHABLE)
        reached = partial(self._reached, number, claim)
        self._interest.when_ready(self._subjects.identity(identity), reached)

    def withdraw(self, identity: str, connection: Connection) -> None:
        """A connection has the identity no more."""
        claims = self._claims.get(identity, {})
        if claims.pop(connection, None) is not None:
            self._interest.unwant(self._subjects.identity(identity))
            if not claims:
                del self._claims[identity]

    def _reached(self, number: int, claim: _Claim) -> None:
        if self._reaching.take(number) is not None:
            self._establish(number, claim)
        elif claim.granted.done and self._stands(claim):
            self._publish(claim, again=True)  # what others claimed meanwhile was not heard here

    def _establish(self, _number: int, claim: _Claim) -> None:
        """It can be reached from everywhere, or that takes too long."""
        if not self._stands(claim):
            claim.granted.settle(False)  # it has gone meanwhile, and nobody has to give way
            return
        if self._policy == "refuse":
            self._publish(claim, self._waiting.add(claim, OBJECTION))
            return
        if self._policy == "newest":
            self._publish(claim)
        claim.granted.settle(True)

    def give_up(self) -> None:
        """The cluster ends: nobody is asked any more, and nobody waits for it."""
        for _, claim in (*self._reaching.take_all(), *self._waiting.take_all()):
            claim.granted.settle(self._stands(claim))
        for claims in self._claims.values():
            for claim in claims.values():
                claim.granted.settle(True)

    def claim_again(self) -> None:
        """Others could not be heard for a while: what they claimed meanwhile was missed."""
        self._again.set()

    def unheard(self, number: int) -> bool:
        """Nobody else has anything to do with the identity; whether that was one of its numbers."""
        claim = self._waiting.take(number)
        if claim is not None:
            claim.granted.settle(self._stands(claim))
        return claim is not None

    def _grant(self, _number: int, claim: _Claim) -> None:
        """Nobody has objected in time; somebody who was too slow for that finds out by this."""
        if self._stands(claim):
            claim.granted.settle(True)
            self._publish(claim, again=True)
        else:
            claim.granted.settle(False)

    def _give_way(self, claims: list[_Claim]) -> None:
        """Others have the identity, or will: these are refused, and object to nobody any more."""
        for claim in claims:
            if self._stands(claim):  # and its connection has not claimed the identity anew since
                self.withdraw(claim.identity, claim.connection)
            claim.granted.settle(False)

    def _stands(self, claim: _Claim) -> bool:
        """Whether its connection is still there, and was not refused."""
        return self._claims.get(claim.identity, {}).get(claim.connection) is claim

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
        """A connection of another server claims an identity that may be here.

        Where the policy is to refuse, of two that wait one gives way at once, by the clocks in
        their claims, and whoever waits does so to one that was granted its claim: the other may
        have been asked before it could hear, and would not know of this one.
        """
        try:
            stamp, again = _CLAIM.unpack(record.body)
        except struct.error:
            raise BadFrame(f"a claim of {len(record.body)} bytes") from None
        theirs = (stamp, frame.sender)
        held = list(self._claims.get(frame.name, {}).values())
        if self._policy == "newest":
            self._settle(held, theirs, "connected elsewhere", newest=True)
        elif self._policy == "refuse":
            granted = [claim for claim in held if claim.granted.done]
            waiting = [claim for claim in held if not claim.granted.done]
            if again:
                self._settle(granted, theirs, "connected elsewhere, and earlier", newest=False)
                self._give_way(waiting)
            else:
                later = [claim for claim in waiting if self._rank(claim) > theirs]
                first = len(later) < len(held)
                answer = encode_record(Kind.CLAIM_ANSWER, bytes([first]), number=record.number)
                self._sender.answer(frame.sender, [answer])
                self._give_way(later)

    def _settle(
        self, held: list[_Claim], theirs: tuple[int, bytes], reason: str, *, newest: bool
    ) -> None:
        """Close those that may not stay beside another server's, and object for one that may.

        Both servers come to the same by the clocks in their claims, however late those come.
        """
        for claim in held:
            if (self._rank(claim) > theirs) is newest:
                self._publish(claim, again=True)
            else:
                self.withdraw(claim.identity, claim.connection)  # so that it objects no more
                claim.connection.close(REPLACED, reason)

    def _rank(self, claim: _Claim) -> tuple[int, bytes]:
        return claim.stamp, self._server

    def take_answer(self, frame: Frame, record: Record) -> None:
        """A server that may have a connection of the identity says whether it has."""
        if record.body == b"\x01" and (claim := self._waiting.take(record.number)):
            self._give_way([claim])
