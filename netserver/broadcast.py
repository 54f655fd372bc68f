"""One message to many: encoded once for each kind of wire, handed once to each node."""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable, Iterable
from threading import get_ident
from typing import TYPE_CHECKING

from attrs import frozen

from foreman import Node
from foreman.mailbox import Call, post_to_all
from netserver.backlog import OVERHEAD
from netserver.outflow import check_message, encode_ahead
from netwire import Message, State

if TYPE_CHECKING:
    from netserver.connection import Connection
    from netserver.outflow import Outflow

logger = logging.getLogger(__name__)

_OPEN = State.OPEN  # an enum's members are slow to look up

# So many on the caller's own node are written to at once, in half a millisecond; of more, all wait
# for their turn (`foreman.delivery`), so that a handler may broadcast to thousands and its
# node goes on meanwhile.
AT_ONCE = 64


@frozen
class Broadcast:
    """A message on its way to many. Shared by the threads of all their nodes.

    Args:
        message: The message.
        key: What it is about, where only the newest of a key counts (`netserver.SlowReader`).
        encoded: What it is on each kind of wire.
    """

    message: Message
    key: Hashable
    encoded: dict[Hashable, bytes]

    def deliver(self, connection: Connection) -> bool:
        """Send it to one, on its own thread; False when that cannot be."""
        return connection._shell.outflow.send_shared(self.message, self.encoded, self.key)


def broadcast(
    members: Iterable[Connection],
    message: Message,
    key: Hashable,
    left_out: Collection[Connection],
) -> int:
    """Send a message to those that are open. Any thread.

    Returns:
        How many it was handed over to.

    Raises:
        TypeError: It is neither ``str`` nor ``bytes``.
        ValueError: One of them cannot be sent it; nobody was then.
    """
    check_message(message)
    encoded: dict[Hashable, bytes] = {}
    here = get_ident()
    node: Node | None = None
    own: list[Connection] = []
    others: dict[int | None, list[Connection]] = {}  # by what may wait for them, bytes
    count = 0
    for connection in members:
        if left_out and connection in left_out:
            continue
        shell = connection._shell
        if shell.wire.state is not _OPEN or not shell.was_open:
            continue
        if not encode_ahead(shell.wire, message, encoded):
            continue
        home = connection._home
        if home is not None and home.thread_id == here:
            node = home
            own.append(connection)
        else:
            limit = shell.slow_reader.limit
            if limit in others:
                others[limit].append(connection)
            else:
                others[limit] = [connection]
    sent = Broadcast(message, key, encoded)
    for limit, found in others.items():
        count += len(found)
        for refused in post_to_all(found, sent.deliver, len(message) + OVERHEAD, limit):
            # Once more, where it meets what its listener says about too much that waits.
            count -= not refused._hand_over(message, key, sent.encoded)
    if node is None:
        return count
    if len(own) <= AT_ONCE:
        for connection in own:
            _catch_up(connection)
            count += sent.deliver(connection)
        return count
    return count + _in_turns(node, own, sent)


def relay(members: Collection[Connection], message: Message, key: Hashable = None) -> None:
    """Send a message of somebody else's to those that can be sent it. Any thread.

    Who sent it is not here to be told that the framing of one of them cannot carry it: so the
    others are sent it, and it is logged.
    """
    try:
        broadcast(members, message, key, ())
    except ValueError:
        for connection in members:
            relay_to(connection, message, key)


def relay_to(connection: Connection, message: Message, key: Hashable = None) -> bool:
    """The same for one: whether it was taken to be sent."""
    try:
        return connection.send(message, key)
    except ValueError as error:
        logger.warning("%r is not sent a message: %s", connection, error)
        return False


def relay_all(connection: Connection, messages: list[Message]) -> bool:
    """The same for several: whether all of them were taken; otherwise none was."""
    shell = connection._shell
    if shell.state is not _OPEN:
        return False
    size = sum(map(len, messages)) + OVERHEAD * len(messages)
    return connection._post(shell.outflow.relay, (messages,), size, shell.slow_reader.limit)


def _in_turns(node: Node, own: list[Connection], sent: Broadcast) -> int:
    """Gather it in each one's outflow, which is flushed in a later turn, before anything else."""
    woken: list[Connection] = []
    count = 0
    try:
        for connection in own:
            outflow = connection._shell.outflow
            _catch_up(connection)
            # One that is corked will be flushed by whoever corked it.
            if outflow.gathered is None:
                outflow.cork()
                woken.append(connection)
            count += sent.deliver(connection)
    finally:
        if woken:
            node.delivery.wake_all(woken)
    return count


def _catch_up(connection: Connection) -> None:
    """Send first what other threads have handed over to be sent. On its own thread.

    It may come from the very sender, who has moved here since. Where more than that waits, it is
    left in its order: no order was promised between threads.
    """
    mailbox = connection._mailbox
    if mailbox is not None and mailbox.waits:
        outflow = connection._shell.outflow
        for function, args in mailbox.take_if(lambda call: _only_sends(call, outflow)):
            try:
                if args is None:
                    function(connection)
                else:
                    function(*args)
            except Exception as error:  # as in `Worker._deliver`
                connection._fail(error)


def _only_sends(call: Call, outflow: Outflow) -> bool:
    owner = getattr(call[0], "__self__", None)
    return owner is outflow or isinstance(owner, Broadcast)
