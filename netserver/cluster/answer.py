"""What a connection somewhere answers to `Server.ask`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from netserver.cluster.delivery import Settled
from netserver.errors import Unanswered
from netwire import Message


class Answer(Settled[Message | Unanswered]):
    """An answer that is to come.

    ``await answer`` gives the message, as does ``answer.wait(timeout)`` in a plain thread; both
    raise `Unanswered` where there is none. A function given to `then` is called with the message or
    with the `Unanswered`, which is not raised there.
    """

    __slots__ = ()

    def wait(self, timeout: float | None = None) -> Message:
        """Wait for it in a plain thread, not in a worker's callback, which would stall its node.

        Raises:
            Unanswered: There will be none.
            TimeoutError: It took longer than ``timeout`` seconds.
        """
        return _message(super().wait(timeout))

    def __await__(self) -> Generator[Any, None, Message]:
        return _message((yield from super().__await__()))


def _message(value: Message | Unanswered) -> Message:
    if isinstance(value, Unanswered):
        raise value
    return value
