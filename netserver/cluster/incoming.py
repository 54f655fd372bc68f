"""What other servers sent: checked like anything from a stranger, and given to whom it is for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from netserver.broadcast import relay
from netserver.cluster.channels import Channels
from netserver.cluster.claims import Claims
from netserver.cluster.frames import BadFrame, Frame, Kind, Record, decode
from netserver.cluster.presence_tracker import PresenceTracker
from netserver.cluster.router import Router
from netserver.cluster.subjects import Subjects

if TYPE_CHECKING:
    from netserver.server import Server

logger = logging.getLogger(__name__)

# Complaints about what others send are logged no more often, seconds.
COMPLAIN = 1.0

# What may come on which kind of subject.
_IDENTITY = frozenset({Kind.DIRECT, Kind.ASK, Kind.INBOX_PROBE, Kind.CLAIM})
_GROUP = frozenset({Kind.GROUP, Kind.ENTRY, Kind.ASK_HISTORY, Kind.PRESENCE})
_SERVER = frozenset(
    {
        Kind.RECEIPTS,
        Kind.NO_RECEIPTS,
        Kind.ANSWER,
        Kind.REFUSAL,
        Kind.CLAIM_ANSWER,
        Kind.OFFER_HISTORY,
        Kind.FETCH_HISTORY,
        Kind.HISTORY,
        Kind.ASK_MEMBERS,
        Kind.MEMBERS,
    }
)
_BEAT = frozenset({Kind.BEAT, Kind.BYE})
_EVERYBODY = frozenset({Kind.EVERYBODY})


class Incoming:
    """Takes frames apart. Owned by the cluster's thread.

    Args:
        server: Whose groups and connections are meant.
        id: This server's id.
        subjects, router, claims, presence, channels: Whom it is for.

    Attributes:
        frames: How many came.
        invalid: How many of them were none, or had in them what does not belong there.
    """

    def __init__(
        self,
        server: Server,
        id: bytes,
        subjects: Subjects,
        router: Router,
        claims: Claims,
        presence: PresenceTracker,
        channels: Channels,
    ) -> None:
        self._server = server
        self._id = id
        self._subjects = subjects
        self._claims = claims
        self._router = router
        self._presence = presence
        self._complained = -COMPLAIN
        self.frames = 0
        self.invalid = 0
        self._takers: dict[Kind, Callable[[Frame, Record], None]] = {
            Kind.GROUP: self._take_group,
            Kind.ENTRY: channels.take,
            Kind.EVERYBODY: self._take_everybody,
            Kind.DIRECT: router.take_message,
            Kind.ASK: router.take_question,
            Kind.INBOX_PROBE: router.take_inbox_probe,
            Kind.ANSWER: router.take_answer,
            Kind.REFUSAL: router.take_answer,
            Kind.RECEIPTS: router.take_receipts,
            Kind.NO_RECEIPTS: router.take_receipts,
            Kind.CLAIM: claims.take,
            Kind.CLAIM_ANSWER: claims.take_answer,
            Kind.ASK_HISTORY: channels.backfill.take,
            Kind.OFFER_HISTORY: channels.backfill.take,
            Kind.FETCH_HISTORY: channels.backfill.take,
            Kind.HISTORY: channels.backfill.take,
            Kind.PRESENCE: presence.take,
            Kind.ASK_MEMBERS: presence.take,
            Kind.MEMBERS: presence.take,
            Kind.BEAT: presence.take,
            Kind.BYE: presence.take,
        }

    def receive(self, subject: str, payload: bytes) -> None:
        """A frame came on a subject; what is wrong with it is counted, and harms nothing else."""
        self.frames += 1
        try:
            frame = decode(payload)
            if frame.sender != self._id:
                self._take(subject, frame)
        except BadFrame as error:
            self._complain(subject, error)

    def _take(self, subject: str, frame: Frame) -> None:
        allowed = self._allowed(subject, frame.name)
        if self._presence.hear(frame.sender.hex()):
            self._claims.claim_again()
        if frame.messages:
            _check(Kind.DIRECT, allowed, subject)
            self._hand_out(subject, self._router.take_messages, frame)
        for record in frame.records:
            _check(record.kind, allowed, subject)
            self._hand_out(subject, self._takers[record.kind], frame, record)

    def _hand_out(self, subject: str, taker: Callable[..., None], *what: Any) -> None:
        try:
            taker(*what)
        except BadFrame:
            raise
        except Exception as error:  # a bug of ours: the other records are none of it
            self._complain(subject, error)

    def _allowed(self, subject: str, name: str) -> frozenset[Kind]:
        """What may come on a subject, which has to be the one for the name."""
        subjects = self._subjects
        if subject == subjects.identity(name):
            return _IDENTITY
        if subject == subjects.group(name):
            return _GROUP
        if subject == subjects.everybody:
            return _EVERYBODY
        try:
            server = bytes.fromhex(name)
        except ValueError:
            server = b""
        if subject == subjects.server(server):
            return _SERVER
        if subject == subjects.beat(server):
            return _BEAT
        raise BadFrame(f"{name!r} is not what {subject} stands for")

    def _take_group(self, frame: Frame, record: Record) -> None:
        relay(self._server.groups.members(frame.name), record.message, record.key or None)

    def _take_everybody(self, frame: Frame, record: Record) -> None:
        relay(self._server.census.connections, record.message, record.key or None)

    def _complain(self, subject: str, error: Exception) -> None:
        self.invalid += 1
        if monotonic() - self._complained >= COMPLAIN:
            self._complained = monotonic()
            known = None if isinstance(error, BadFrame) else error
            text = "on %s came what cannot be used (%d so far): %s"
            logger.warning(text, subject, self.invalid, error, exc_info=known)


def _check(kind: Kind, allowed: frozenset[Kind], subject: str) -> None:
    if kind not in allowed:
        raise BadFrame(f"{kind.name} does not belong on {subject}")
