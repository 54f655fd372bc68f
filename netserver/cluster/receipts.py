"""What became of the messages that other servers sent: told together, a moment later."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence

from attrs import define, field

from netserver.cluster.frames import BadFrame, Kind, encode_record

# Receipts gather so long, seconds: without, each lone message would be two frames. Only whoever
# waits for the receipt notices.
GATHER = 0.001

# So many go out at once, whatever the time.
MOST = 1000


@define(eq=False)
class _Account:
    """The numbers of one server's messages that somebody got, and of those that nobody did."""

    got: list[int] = field(factory=list)
    missed: list[int] = field(factory=list)


class Receipts:
    """Gathers receipts. Owned by the cluster's thread.

    Args:
        reply: Sends a record to a server.
    """

    def __init__(self, reply: Callable[[bytes, bytes], None]) -> None:
        self._reply = reply
        self._accounts: dict[bytes, _Account] = {}
        self._timer: asyncio.TimerHandle | None = None

    def note(self, server: bytes, numbers: Sequence[int], got: bool) -> None:
        """Messages of a server's were handed to somebody, or there was nobody."""
        if not numbers:
            return
        account = self._accounts.get(server)
        if account is None:
            account = self._accounts[server] = _Account()
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(GATHER, self._send)
        noted = account.got if got else account.missed
        noted += numbers
        if len(noted) >= MOST:
            self._send()

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        accounts, self._accounts = self._accounts, {}
        for server, account in accounts.items():
            for kind, numbers in (
                (Kind.RECEIPTS, account.got),
                (Kind.NO_RECEIPTS, account.missed),
            ):
                if numbers:
                    body = struct.pack(f"!{len(numbers)}I", *numbers)
                    self._reply(server, encode_record(kind, body))


def read_receipts(body: bytes) -> tuple[int, ...]:
    """The numbers of a record of receipts.

    Raises:
        BadFrame: It is none.
    """
    if len(body) % 4:
        raise BadFrame(f"receipts of {len(body)} bytes")
    return struct.unpack(f"!{len(body) // 4}I", body)
