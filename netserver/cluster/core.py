"""What lives on the cluster's thread, tied together, and the link that it all depends on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from netserver.backplane import Backplane, BackplaneError, LinkDown, LinkState
from netserver.cluster.channels import Channels
from netserver.cluster.claims import Claims
from netserver.cluster.config import ClusterConfig
from netserver.cluster.identities import Identities
from netserver.cluster.incoming import Incoming
from netserver.cluster.interest import Interest
from netserver.cluster.lane import Lane
from netserver.cluster.memberships import Memberships
from netserver.cluster.presence import Change
from netserver.cluster.presence_tracker import PresenceTracker
from netserver.cluster.router import Router
from netserver.cluster.sender import Budget, Sender
from netserver.cluster.subjects import Subjects
from netserver.events import BackplaneDown, BackplaneUp, Event, MessagesDropped
from netwire import Backoff

if TYPE_CHECKING:
    from netserver.server import Server

logger = logging.getLogger(__name__)

# How long the last words may take at the end, seconds.
LAST_WORDS = 1.0

# Until a journal that could not be opened is tried again.
AGAIN = Backoff(first=0.5, cap=10.0)

# Between the end of a part by a bug and its new beginning, seconds: no flood in the log.
BREATH = 1.0


class Core:
    """The parts of a server's membership in the cluster. Owned by the cluster's thread.

    Args:
        server: Whose.
        id: Its id.
        backplane: The way to the others.
        config: How they work together.
        lane: The thread.
        identities: Who is here.
        budget: Of what other threads send.
        alone: Whether there are no other servers.
        tell: Called with what happens to the link, and to what should have gone over it.
        tell_presence: Called with each change in a group that has presence.
    """

    def __init__(
        self,
        server: Server,
        id: bytes,
        backplane: Backplane,
        config: ClusterConfig,
        lane: Lane,
        identities: Identities,
        budget: Budget,
        alone: bool,
        tell: Callable[[Event], None],
        tell_presence: Callable[[str, Change], None],
    ) -> None:
        self._server = server
        self._id = id
        self.backplane = backplane
        self._config = config
        self._tell = tell
        self._budget = budget
        self._dropped = 0  # of which has been told
        groups = server.groups
        self.subjects = subjects = Subjects(config.prefix)
        self.sender = sender = Sender(backplane, config, id, budget, subjects)
        self.interest = interest = Interest(backplane.subscribe, backplane.unsubscribe)
        self.router = Router(lane, sender, subjects, identities, groups, alone)
        self.claims = Claims(config, id, sender, subjects, interest, identities)
        self.presence = PresenceTracker(config, id, sender, subjects, interest, tell_presence)
        self.journal = backplane.journal
        self.channels = Channels(
            groups.rules,
            id,
            sender,
            subjects,
            interest,
            budget,
            self.journal,
            alone,
            lane.post,
        )
        self.memberships = Memberships(groups, id, interest, subjects, self.presence, self.channels)
        self.incoming = Incoming(
            server, id, subjects, self.router, self.claims, self.presence, self.channels
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._rejoining: asyncio.Task[None] | None = None
        self._started = False

    async def start(self) -> None:
        """Connect, and go on by itself.

        Raises:
            BackplaneError: It can never work.
        """
        await self.backplane.start(self.incoming.receive, self._link_changed)
        self.interest.want(self.subjects.everybody)
        self.interest.want(self.subjects.server(self._id))
        if self.backplane.state is LinkState.UP:
            with suppress(LinkDown):  # then it is opened when the link is up again
                await self._open_journal()
        for group in self._server.groups.watched:
            self.presence.watch(group)
        self._started = True
        for main in (
            self.interest.run,
            self.sender.run,
            self.claims.run,
            self.presence.run,
            self.channels.run,
            self._probe,
        ):
            self._tasks.append(asyncio.get_running_loop().create_task(_keep_going(main)))

    async def stop(self) -> None:
        """Say goodbye, and leave."""
        if self._started:
            try:
                await self._say_last_words()
            except Exception:  # a bug of an engine's: who waits for an outcome is told all the same
                logger.exception("the goodbye to other servers failed")
        tasks = [*self._tasks, *([] if self._rejoining is None else [self._rejoining])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS)
        self.channels.close()
        self.claims.give_up()
        self.router.give_up()
        self.sender.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self.backplane.close()

    async def _say_last_words(self) -> None:
        self.presence.say_goodbye()
        with suppress(TimeoutError, LinkDown):
            async with asyncio.timeout(LAST_WORDS):
                if self.channels.writer is not None:
                    await self.channels.writer.flush()
                await self.sender.flush()
                if self.backplane.state is LinkState.UP:
                    await self.backplane.probe()  # so that it has left when we do

    # ---------------------------------------------------------------- the link

    def _link_changed(self, state: LinkState, why: str) -> None:
        if state is LinkState.CLOSED:
            return
        up = state is LinkState.UP
        logger.log(logging.INFO if up else logging.WARNING, "backplane %s: %s", state.value, why)
        self._tell(BackplaneUp(why) if up else BackplaneDown(why))
        if self._rejoining is not None:
            self._rejoining.cancel()
            self._rejoining = None
        if up and self._started:
            self._rejoining = asyncio.get_running_loop().create_task(self._rejoin())

    async def _rejoin(self) -> None:
        """The link is up again: make up for what was missed meanwhile."""
        self.presence.greet_all()
        self.claims.claim_again()
        failures = 0
        while True:
            try:
                await self._open_journal()
            except LinkDown:
                return  # it will be up once more
            except BackplaneError as error:  # a broker that has just begun may need a while for it
                failures += 1
                logger.error("%s", error)
                await asyncio.sleep(AGAIN.delay(failures, random.random))
            else:
                break
        self.channels.reload()

    async def _open_journal(self) -> None:
        histories = self._server.groups.rules.histories
        if self.journal is None or not histories:
            return
        await self.journal.open(
            self.channels.follow,
            count=max(each.count for each in histories),
            age=max(each.age for each in histories),
        )

    async def _probe(self) -> None:
        """Ask the broker again and again whether it is there, and look who is not."""
        backplane, config = self.backplane, self._config
        while True:
            asleep = monotonic()
            await asyncio.sleep(config.heartbeat)
            self._tell_drops()
            asked = monotonic()
            # What the others said while this thread, or the whole process, was held up waits to be
            # heard.
            if backplane.state is not LinkState.UP or asked - asleep > 2 * config.heartbeat:
                self.presence.excuse()
                continue
            try:
                async with asyncio.timeout(config.probe_timeout):
                    await backplane.probe()
            except LinkDown:
                self.presence.excuse()
            except TimeoutError:
                self.presence.excuse()
                await backplane.restart(f"no answer within {config.probe_timeout:g} s")
            else:
                # Only now is it known that the others were silent, and not the broker.
                self.presence.find_dead(asked)

    @property
    def dropped(self) -> int:
        """How many messages the backplane did not get."""
        return self._budget.refused + self.sender.dropped

    def _tell_drops(self) -> None:
        more = self.dropped - self._dropped
        if more:
            self._dropped += more
            logger.warning("%d messages did not get to other servers", more)
            self._tell(MessagesDropped(more))


async def _keep_going(main: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a part of the cluster until cancelled.

    What a part expects it deals with. Should there be a bug, in an engine's library perhaps, the
    server is better off with a part that is begun anew than without it until its end.
    """
    while True:
        try:
            await main()
            return
        except Exception:
            logger.exception("%s is begun anew", main.__qualname__)
        await asyncio.sleep(BREATH)
