"""Messages, questions and answers between identities, wherever they are connected."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, TypeAlias

from attrs import define

from netserver.broadcast import relay_all, relay_to
from netserver.cluster.answer import Answer
from netserver.cluster.deadlines import Deadlines
from netserver.cluster.delivery import Delivery, Outcome
from netserver.cluster.frames import (
    Frame,
    Kind,
    Record,
    encode_message,
    encode_messages,
    encode_record,
)
from netserver.cluster.history import Position
from netserver.cluster.identities import Identities
from netserver.cluster.receipts import Receipts, read_receipts
from netserver.cluster.rules import inbox_of
from netserver.cluster.sender import Sender
from netserver.cluster.subjects import Subjects
from netserver.errors import Unanswered
from netserver.interjection import put_question
from netwire import Message

if TYPE_CHECKING:
    from netserver.cluster.lane import Lane
    from netserver.connection import Connection
    from netserver.groups import Groups

logger = logging.getLogger(__name__)

# When one server says that nobody is there, another may so long say that somebody is, seconds.
SECOND_OPINION = 0.2

# So much is told of why somebody does not answer, characters.
LONGEST_REASON = 1000

NOBODY = "nobody is there"


# Members of enums that are looked up for every message.
_DIRECT = Kind.DIRECT
_DELIVERED = Outcome.DELIVERED

_IS_DONE = attrgetter("done")

# A message on its way to others, as `Router.send` has it.
_Item: TypeAlias = tuple[str, Message, Delivery, float, int]


@define(eq=False)
class _Stored:
    """A message that goes into an inbox: whether it is there, and who it is for."""

    identity: str
    delivery: Delivery
    stored: bool = False  # it is in the history, whoever is there

    def settle(self, outcome: Outcome) -> None:
        missed = self.stored and outcome is not Outcome.DELIVERED
        self.delivery.settle(Outcome.QUEUED if missed else outcome)


@define(eq=False)
class _Asked:
    """A question on its way."""

    identity: str
    answer: Answer

    def settle(self, outcome: Outcome) -> None:
        nobody = outcome is Outcome.NOBODY
        why = NOBODY if nobody else "the deadline has passed"
        self.answer.settle(Unanswered(self.identity, why))


class Router:
    """Finds identities by their subjects. Owned by the cluster's thread.

    A message goes to the servers that have a connection of its identity, and to no others. They say
    what became of it in one receipt for all that came together.

    Args:
        lane: The thread.
        sender: Publishes.
        subjects: Where to.
        identities: Who is here.
        groups: And in which group.
        alone: Whether there are no other servers.
    """

    def __init__(
        self,
        lane: Lane,
        sender: Sender,
        subjects: Subjects,
        identities: Identities,
        groups: Groups,
        alone: bool,
    ) -> None:
        self._lane = lane
        self._sender = sender
        self._subjects = subjects
        self._identities = identities
        self._groups = groups
        self._alone = alone
        self._waiting: Deadlines[Delivery | _Stored | _Asked] = Deadlines(self._expire)
        self._missed: set[int] = set()  # those of them for whom one server had nobody
        self._receipts = Receipts(self._reply)

    # ---------------------------------------------------------------- sending

    def send(self, batch: Iterable[_Item]) -> None:
        """Send messages to the others that have their identities.

        Args:
            batch: Identities, messages, what is to be settled within so many seconds, and what was
                taken of the budget.
        """
        for identity, run in groupby(batch, itemgetter(0)):
            together = list(run)
            try:
                self._send_run(identity, together)
            except Exception:  # one of them is to blame
                for item in together:
                    self._send_alone(identity, item)

    def _send_run(self, identity: str, run: list[_Item]) -> None:
        """Messages for one identity, by columns: every message passes by."""
        subject = self._subjects.identity(identity)
        _, messages, deliveries, timeouts, charges = zip(*run, strict=True)
        numbers = self._await(deliveries, timeouts)
        try:
            records = encode_messages(_DIRECT, messages, numbers)
            self._sender.add_all(subject, identity, records, charges, self._unheard, numbers)
        except Exception:
            self._waiting.take_each(numbers)
            raise

    def _send_alone(self, identity: str, item: _Item) -> None:
        try:
            self._send_run(identity, [item])
        except Exception:  # whoever handed it over checked it, but those behind it are others'
            logger.exception("a message for %r is not sent", identity)
            _, _, delivery, _, charged = item
            self._sender.discard(charged)
            delivery.settle(Outcome.REFUSED)

    def _await(self, deliveries: Sequence[Delivery], timeouts: Sequence[float]) -> Sequence[int]:
        """Numbers for what is to be settled; 0 for what is."""
        waiting = self._waiting
        if any(map(_IS_DONE, deliveries)) or timeouts.count(timeouts[0]) < len(timeouts):
            return [
                0 if delivery.done else waiting.add(delivery, timeout)
                for delivery, timeout in zip(deliveries, timeouts, strict=True)
            ]
        return waiting.add_all(deliveries, timeouts[0])  # nearly always

    def ask(
        self, identity: str, message: Message, answer: Answer, timeout: float, charged: int
    ) -> None:
        """Ask the others that have the identity; the first answer counts."""
        number = self._waiting.add(_Asked(identity, answer), timeout)
        record = encode_message(Kind.ASK, message, number=number)
        self._publish(identity, record, charged, number)

    def follow(self, identity: str, stored: Delivery, delivery: Delivery, timeout: float) -> None:
        """A message is being stored in an inbox; when it is, find out whether anybody is there."""
        number = self._waiting.add(_Stored(identity, delivery), timeout)
        stored.then(
            lambda outcome: self._lane.post(self._probe_inbox, number, outcome, stored.position)
        )

    def _probe_inbox(self, number: int, outcome: Outcome, position: Position | None) -> None:
        sent = self._waiting.look_at(number)
        if not isinstance(sent, _Stored):
            return  # it took too long
        sent.delivery.position = position
        sent.stored = outcome is Outcome.QUEUED
        if sent.stored and self._is_in_inbox(sent.identity):
            outcome = Outcome.DELIVERED
        elif sent.stored and not self._alone:
            probe = encode_record(Kind.INBOX_PROBE, number=number)
            self._publish(sent.identity, probe, None, number)
            return
        self._settle(number, outcome)

    def await_here(self, identity: str, answer: Answer, timeout: float) -> None:
        """Put a deadline on an answer of a connection of this server."""
        self._waiting.add(_Asked(identity, answer), timeout)

    def _publish(self, identity: str, record: bytes, charged: int | None, number: int) -> None:
        unheard = self._unheard if number else None
        subject = self._subjects.identity(identity)
        self._sender.add(subject, identity, record, charged, unheard, number)

    def _unheard(self, number: int) -> None:
        """Nobody subscribes to what a record was published on."""
        self._settle(number, Outcome.NOBODY)

    def _expire(self, number: int, sent: Delivery | _Stored | _Asked) -> None:
        sent.settle(Outcome.NOBODY if number in self._missed else Outcome.UNKNOWN)
        self._missed.discard(number)

    def _settle(self, number: int, outcome: Outcome) -> None:
        sent = self._waiting.take(number)
        self._missed.discard(number)
        if sent is not None:
            sent.settle(outcome)

    # ---------------------------------------------------------------- what others sent

    def take_messages(self, frame: Frame) -> None:
        """Messages for an identity that may be here, handed over at once where that can be."""
        self._take(frame.sender, frame.name, frame.messages, frame.numbers)

    def take_message(self, frame: Frame, record: Record) -> None:
        """One of them that came behind something else."""
        self._take(frame.sender, frame.name, [record.message], [record.number])

    def _take(
        self, sender: bytes, identity: str, messages: list[Message], numbers: list[int]
    ) -> None:
        missed: Sequence[int] = range(len(messages))  # those that nobody got yet, by place
        for connection in self._identities.of(identity):
            if relay_all(connection, messages):
                missed = ()
            else:
                taken = [relay_to(connection, message) for message in messages]
                missed = [place for place in missed if not taken[place]]
        note = self._receipts.note
        if not missed:
            note(sender, list(filter(None, numbers)), True)
            return
        for place, number in enumerate(numbers):
            if number:
                note(sender, [number], place not in missed)

    def take_inbox_probe(self, frame: Frame, record: Record) -> None:
        """Something was stored for an identity that may be here, in its inbox."""
        self._receipts.note(frame.sender, [record.number], self._is_in_inbox(frame.name))

    def _is_in_inbox(self, identity: str) -> bool:
        """Whether a connection of this server gets what is stored for an identity."""
        inbox = inbox_of(identity)
        return any(
            self._groups.membership(each, inbox) is not None
            for each in self._identities.of(identity)
        )

    def take_question(self, frame: Frame, record: Record) -> None:
        """A question for an identity that may be here."""
        connections = self._identities.of(frame.name)
        if connections:
            self._put_question(connections[-1], frame.sender, record)
        else:
            self._receipts.note(frame.sender, [record.number], False)

    def _put_question(self, connection: Connection, sender: bytes, record: Record) -> None:
        number = record.number
        answer = Answer()
        most = self._sender.longest
        answer.then(
            lambda value: self._lane.post(self._reply, sender, encode_answer(value, number, most))
        )
        put_question(connection, record.message, answer)

    def _reply(self, server: bytes, record: bytes) -> None:
        self._sender.answer(server, [record])

    # ---------------------------------------------------------------- what others answered

    def take_receipts(self, frame: Frame, record: Record) -> None:
        """What became of messages."""
        numbers = read_receipts(record.body)
        waiting = self._waiting
        if record.kind is Kind.RECEIPTS:
            if self._missed:
                self._missed.difference_update(numbers)
            deliveries = []
            for sent in waiting.take_each(numbers):
                if type(sent) is Delivery:
                    deliveries.append(sent)
                else:
                    sent.settle(_DELIVERED)
            Delivery.settle_all(deliveries, _DELIVERED)
            return
        for number in numbers:
            if waiting.look_at(number) is not None and number not in self._missed:
                self._missed.add(number)
                waiting.hurry(number, SECOND_OPINION)

    def take_answer(self, frame: Frame, record: Record) -> None:
        """An answer, or why there is none."""
        sent = self._waiting.look_at(record.number)
        if not isinstance(sent, _Asked):
            return  # too late, or somebody else was first
        message = record.message
        self._waiting.take(record.number)
        self._missed.discard(record.number)
        if record.kind is Kind.ANSWER:
            sent.answer.settle(message)
        else:
            sent.answer.settle(Unanswered(sent.identity, str(message)))

    def give_up(self) -> None:
        """The cluster ends: nothing more will be heard."""
        for _, sent in self._waiting.take_all():
            sent.settle(Outcome.UNKNOWN)


def encode_answer(value: Message | Unanswered, number: int, most: int) -> bytes:
    """The record that takes an answer to who asked, or why there is none.

    Args:
        most: How long an answer may be, bytes.
    """
    if isinstance(value, Unanswered):
        reason = value.reason[:LONGEST_REASON].encode(errors="replace").decode()
    else:
        try:
            record = encode_message(Kind.ANSWER, value, number=number)
        except ValueError:
            reason = "the answer has surrogates in it"
        else:
            if len(record) <= most:
                return record
            reason = f"an answer of {len(record)} bytes does not go to other servers"
    return encode_message(Kind.REFUSAL, reason, number=number)
