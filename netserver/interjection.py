"""What the cluster has a connection called with: what it missed, and the questions of others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from foreman import NotRunning
from netserver.backlog import OVERHEAD
from netserver.cluster.answer import Answer
from netserver.cluster.history import Recovery
from netserver.errors import Unanswered
from netserver.outflow import check_message
from netwire import Message

if TYPE_CHECKING:
    from netserver.connection import Connection

TOO_BUSY = "too many questions wait for it"


def hand_recovery(
    connection: Connection, recovery: Recovery, then: Callable[[Connection, Recovery], None]
) -> None:
    """Call `Connection.on_recovery`, and ``then`` when it has ended. Any thread."""
    connection._run_here(_take_recovery, connection, recovery, then)


def put_question(connection: Connection, message: Message, answer: Answer) -> None:
    """Call `Connection.on_ask`, and settle the answer with what it returns. Any thread.

    It is left open where the connection has gone: whoever asks has a deadline.
    """
    home = connection._home
    if home is not None and home.here:
        _take_question(connection, message, answer)
    elif connection._foreman is not None:
        cost = len(message) + OVERHEAD
        limit = cost + connection._shell.config.receive_limit
        if not connection._post(_take_question, (connection, message, answer), cost, limit):
            _refuse(connection, answer, TOO_BUSY)


# -------------------------------------------------------------------- on the connection's thread


def _take_recovery(
    connection: Connection, recovery: Recovery, then: Callable[[Connection, Recovery], None]
) -> None:
    _interject(connection, _recover, connection, recovery)
    _interject(connection, then, connection, recovery)


def _recover(connection: Connection, recovery: Recovery) -> Awaitable[None] | None:
    return connection.on_recovery(recovery) if _is_there(connection) else None


def _take_question(connection: Connection, message: Message, answer: Answer) -> None:
    if connection._questions > connection._shell.config.receive_limit:
        _refuse(connection, answer, TOO_BUSY)
        return
    connection._questions += len(message) + OVERHEAD
    _interject(connection, _ask, connection, message, answer)


def _ask(connection: Connection, message: Message, answer: Answer) -> Awaitable[None] | None:
    connection._questions -= len(message) + OVERHEAD
    try:
        if not _is_there(connection):
            raise NotRunning("it has gone")
        result = connection.on_ask(message)
        if isawaitable(result):
            return _await_answer(connection, result, answer)
        check_message(result)
    except Exception as error:
        _refuse(connection, answer, str(error) or repr(error))
    else:
        answer.settle(result)
    return None


async def _await_answer(connection: Connection, result: Awaitable[Message], answer: Answer) -> None:
    try:
        given = await result
        check_message(given)
    except Exception as error:
        _refuse(connection, answer, str(error) or repr(error))
    else:
        answer.settle(given)


def _refuse(connection: Connection, answer: Answer, reason: str) -> None:
    answer.settle(Unanswered(str(connection.identity), reason))


def _is_there(connection: Connection) -> bool:
    """Whether callbacks may be called: it has opened, and has not ended."""
    shell = connection._shell
    return shell.was_open and not shell.ending.over


def _interject(connection: Connection, function: Callable[..., object], *args: Any) -> None:
    """Run a callback in its turn; between the steps of `handle`, which never ends its own."""
    shell = connection._shell
    if not shell.inbox.is_pulled:
        shell.serial.call(function, *args)
        return
    before, done = connection._interjected, asyncio.Event()
    connection._interjected = done
    shell.node.create_task(connection, _run_between(connection, before, done, function, args))


async def _run_between(
    connection: Connection,
    before: asyncio.Event | None,
    done: asyncio.Event,
    function: Callable[..., object],
    args: tuple[Any, ...],
) -> None:
    if before is not None:
        await before.wait()
    try:
        result = function(*args)
        if isawaitable(result):
            await result
    except Exception as error:
        connection._fail(error)
    finally:
        done.set()
