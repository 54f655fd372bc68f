"""``zmq://``: each server has a link to each other, and there is no broker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import ClassVar

import zmq
from attrs import frozen

from netserver.backplane.base import Backplane, LinkState, Receive, Tell, check_subject
from netserver.backplane.errors import BackplaneUrlError, LinkDown
from netserver.backplane.url import Address, BackplaneUrl
from netserver.backplane.zeromq import sockets
from netserver.backplane.zeromq.curve import Gatekeeper
from netserver.backplane.zeromq.dialer import Dialer
from netserver.backplane.zeromq.mesh import Mesh
from netserver.backplane.zeromq.options import Options
from netserver.backplane.zeromq.wire import ID_SIZE, NO_KEY, Introduction, PeerInfo

# So long `start` waits for the peers that it knows of, seconds.
_LONGEST_START = 2.0

# What was sent last has so long to go out when it closes, milliseconds.
_LINGER = 200


@frozen(kw_only=True)
class ZmqStatistics:
    """What has happened since `start`.

    Args:
        peers: The servers that there is a link to now.
        dropped: Messages that peers which were behind did not get.
        malformed: Frames from peers that were none, and were ignored.
        refused: Callers whose key is not trusted.
    """

    peers: int
    dropped: int
    malformed: int
    refused: int


class ZmqBackplane(Backplane):
    """One server's end, connected to all others.

    It is up when it listens and has a link to all peers that it has been told of, or has waited two
    seconds for them: it needs none. One that comes later, or again, subscribes by itself. For one
    that is behind, publishing waits for a quarter of a second, once; then up to 2 MiB are kept for
    it and the rest is dropped until it has caught up, so that nobody else is held up.

    Args:
        url: As the package tells.

    Attributes:
        address: Where it is reached; known from `start` on.

    Raises:
        BackplaneUrlError: As `Options.read`.
    """

    schemes: ClassVar[tuple[str, ...]] = ("zmq",)

    address: Address

    def __init__(self, url: BackplaneUrl) -> None:
        self._options = Options.read(url)
        self._subjects: set[str] = set()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._gatekeeper: Gatekeeper | None = None
        self._mesh: Mesh | None = None

    @property
    def statistics(self) -> ZmqStatistics:
        """What has happened so far."""
        mesh = self._mesh
        return ZmqStatistics(
            peers=mesh.links if mesh else 0,
            dropped=mesh.publisher.dropped if mesh else 0,
            malformed=mesh.malformed + mesh.publisher.malformed if mesh else 0,
            refused=self._gatekeeper.refused if self._gatekeeper else 0,
        )

    async def start(self, receive: Receive, tell: Tell) -> None:
        self._loop = asyncio.get_running_loop()
        self._receive, self._tell = receive, tell
        options = self._options
        try:
            ip, *_ = await sockets.look_up(options.bind.host, options.bind.port)
        except OSError as error:
            raise BackplaneUrlError(options.shown, f"cannot be listened on: {error}") from error
        self._context = context = sockets.make_context()
        if options.keys is not None:
            self._gatekeeper = Gatekeeper(self._loop, context, options.keys)
        router = sockets.make_router(context, options.keys, ip)
        try:
            router.bind(sockets.endpoint(ip, options.bind.port))
        except zmq.ZMQError as error:
            router.close()
            await self._end()
            raise BackplaneUrlError(options.shown, f"cannot be listened on: {error}") from error
        port = int(router.get_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self.address = options.advertised(port)
        public = NO_KEY if options.keys is None else options.keys.public
        me = Introduction(os.urandom(ID_SIZE), PeerInfo(self.address, public))
        dialer = Dialer(self._loop, context, me, options.keys, self.max_payload)
        self._mesh = Mesh(self._loop, router, dialer, me, self._subjects, self._arrive)
        self._mesh.start(options.listed, options.name)
        await self._come_up()

    async def publish(
        self, subject: str, payload: bytes, unheard: Callable[[], None] | None = None
    ) -> None:
        self.check(subject, payload)
        if not await self._up().publisher.publish(subject, payload) and unheard is not None:
            unheard()

    async def subscribe(self, subjects: Iterable[str]) -> None:
        checked = [check_subject(subject) for subject in subjects]
        if self._mesh is None:
            self._subjects.update(checked)
        else:
            await self._mesh.subscribe(checked)

    async def unsubscribe(self, subjects: Iterable[str]) -> None:
        if self._mesh is None:
            self._subjects.difference_update(subjects)
        else:
            self._mesh.unsubscribe(subjects)

    async def probe(self) -> None:
        self._up()

    async def restart(self, reason: str) -> None:
        if self.state is LinkState.UP:
            mesh = self._up()
            self._become(LinkState.DOWN, reason)
            mesh.drop_all(reason)
            await self._come_up()

    async def close(self) -> None:
        if self.state is not LinkState.CLOSED:
            self.state = LinkState.CLOSED
            await self._end()

    def _up(self) -> Mesh:
        if self.state is not LinkState.UP or self._mesh is None:
            raise LinkDown("it is closed" if self.state is LinkState.CLOSED else "it is starting")
        return self._mesh

    async def _come_up(self) -> None:
        assert self._mesh is not None
        await self._mesh.settle(self._loop.time() + _LONGEST_START)
        if self.state is LinkState.DOWN:  # and not closed meanwhile
            count = self._mesh.links
            self._become(LinkState.UP, f"at {self.address}, with {count} other servers")

    async def _end(self) -> None:
        if self._mesh is not None:
            await self._mesh.close(_LINGER)
        if self._gatekeeper is not None:
            self._gatekeeper.close()
        if self._context is not None:
            # It waits for what lingers.
            await self._loop.run_in_executor(None, self._context.destroy)

    def _arrive(self, subject: str, payload: bytes) -> None:
        try:
            self._receive(subject, payload)
        except Exception as error:
            # What else came with it has to be handed over all the same.
            self._loop.call_exception_handler(
                {"message": f"receiving a message on {subject} failed", "exception": error}
            )

    def _become(self, state: LinkState, why: str) -> None:
        self.state = state
        self._tell(state, why)
