"""Connecting to a peer, and finding out who it is."""

from __future__ import annotations

import asyncio
import logging

import zmq

from netserver.backplane.url import Address
from netserver.backplane.zeromq import sockets, wire
from netserver.backplane.zeromq.curve import Keys
from netserver.backplane.zeromq.link import Link, LinkLost, LinkOwner
from netserver.backplane.zeromq.wire import NO_KEY, Introduction, Kind

log = logging.getLogger(__name__)

# So long a peer may take to introduce itself, seconds.
_LONGEST_INTRODUCTION = 1.0

# It is told in the log when a peer has broken off the handshake so often, and not again until there
# was a link: once may be one that ends at that moment.
_WARN_AT = 3

# So many addresses are counted.
_MOST_REFUSALS = 1000


class Dialer:
    """Makes links. On the loop's thread.

    Args:
        me: This server, as peers are told of it.
        keys: For CURVE; None for plain text.
        max_payload: The most bytes of a message.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: zmq.Context[zmq.Socket[bytes]],
        me: Introduction,
        keys: Keys | None,
        max_payload: int,
    ) -> None:
        self._loop, self._context, self._keys = loop, context, keys
        self._hello = wire.introduction(Kind.HELLO, me)
        self._max_payload = max_payload
        self._refusals: dict[Address, int] = {}

    async def reach(self, address: Address, told: bytes, owner: LinkOwner) -> tuple[Link, bytes]:
        """Make a link whose peer has introduced itself.

        Args:
            told: The public key that the peer is said to have; `NO_KEY` if none is known.

        Returns:
            The link, and the key that the peer has.

        Raises:
            LinkLost: Nobody is there, or not one of us.
            OSError: The address has a name that is not found.
        """
        keys = [NO_KEY] if self._keys is None else self._keys.candidates(told)
        failure = LinkLost("no key is trusted")
        for ip in await sockets.look_up(address.host, address.port):
            # A caller has to know the key beforehand, so those that the peer may have are tried.
            for key in keys:
                try:
                    link = await self._call(ip, address.port, key, owner)
                except LinkLost as error:
                    failure = error
                    if not error.wrong_key:
                        break
                else:
                    self._refusals.pop(address, None)
                    return link, key
        if failure.refused:
            self._warn(address, failure)
        raise failure

    def _warn(self, address: Address, failure: LinkLost) -> None:
        if len(self._refusals) >= _MOST_REFUSALS:
            self._refusals.clear()
        count = self._refusals[address] = self._refusals.get(address, 0) + 1
        if count == _WARN_AT:
            log.warning("no link to the peer at %s: %s", address, failure.reason)

    async def _call(self, ip: str, port: int, key: bytes, owner: LinkOwner) -> Link:
        try:
            socket = sockets.make_dealer(self._context, self._keys, key, ip, self._max_payload)
            endpoint = sockets.endpoint(ip, port)
            link = Link(self._loop, self._context, socket, endpoint, self._hello, owner)
        except zmq.ZMQError as error:
            raise LinkLost(f"no socket is to be had: {error}") from error
        try:
            async with asyncio.timeout(_LONGEST_INTRODUCTION):
                await link.greeting
        except TimeoutError:
            link.close(None)
            raise LinkLost("it does not introduce itself") from None
        except asyncio.CancelledError:
            link.close(None)
            raise
        return link
